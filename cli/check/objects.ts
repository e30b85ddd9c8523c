import type { KubeObject } from '../../model/objects.ts';
import { conditionsOf, conditionText } from '../client/verdict.ts';
import { textAt } from '../kube/fields.ts';
import { JUDGED_KINDS, objectKey } from '../kube/kinds.ts';
import { problemPlace, problemText } from '../output/problem.ts';
import { type Facts, type Finding, podName } from './findings.ts';

type ObjectFacts = Pick<Facts, 'problems' | 'objects' | 'origins'>;

/** Routes and policies that aren't accepted, resolved or programmed, and what is wrong with files and objects. */
export function checkObjects(facts: ObjectFacts): readonly Finding[] {
  const fromFiles = facts.problems.map((problem): Finding => {
    const namespace = /^\S+ ([^/\s]+)\//.exec(problem.object ?? '')?.[1];
    const place = problemPlace(problem);
    return {
      level: problem.severity === 'error' ? 'problem' : 'warning',
      about: problem.object ?? 'manifest',
      message: problemText(problem),
      ...(place === undefined ? {} : { where: `${problem.source}${place}` }),
      ...(namespace === undefined ? {} : { namespace }),
      ...(problem.severity === 'error'
        ? {
            remedy: `mend the ${place === undefined ? 'object' : 'file'}; what was in force before stays until then`,
          }
        : {}),
    };
  });
  // A problem names the very line; the condition of the same object says no more than it.
  const told = new Set(facts.problems.map((problem) => problem.object));
  const judged = facts.objects.filter((object) => JUDGED_KINDS.includes(object.kind));
  const conditions = judged.flatMap((object) =>
    told.has(`${object.kind} ${podName(object)}`) ? [] : conditionFindings(object, facts),
  );
  const good: Finding[] =
    judged.length > 0 && fromFiles.length + conditions.length === 0
      ? [{ level: 'good', about: 'routes and policies', message: `${judged.length} accepted and in force` }]
      : [];
  return [...fromFiles, ...conditions, ...good];
}

function conditionFindings(object: KubeObject, facts: ObjectFacts): readonly Finding[] {
  const where = facts.origins.get(objectKey(object));
  const found = {
    about: `${object.kind} ${podName(object)}`,
    namespace: object.metadata.namespace ?? 'default',
    ...(where === undefined ? {} : { where }),
  };
  const conditions = conditionsOf(object.status);
  if (conditions.length === 0)
    return [
      {
        level: 'warning',
        ...found,
        message: 'the control plane has said nothing about it',
        remedy: 'look again in a moment; if it stays: heddle logs control-plane -n heddle-system',
      },
    ];
  return conditions.flatMap((condition): readonly Finding[] => {
    const status = textAt(condition, 'status');
    if (status === 'True') return [];
    return [
      {
        level: status === 'False' ? 'problem' : 'warning',
        ...found,
        message: conditionText(condition),
        remedy:
          status === 'False' ? 'mend the object; heddle apply shows the verdict' : 'look again in a moment',
      },
    ];
  });
}
