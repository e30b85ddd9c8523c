import type { Clock } from '../common/clock.ts';
import { messageOf } from '../common/errors.ts';
import type { JsonObject } from '../common/json.ts';
import type { Logger } from '../common/log.ts';
import { buildMesh } from '../model/build.ts';
import type { Mesh, MeshSettings, ObjectStatus } from '../model/mesh.ts';
import type { Problem, SourcedObject } from '../model/objects.ts';
import type { ObjectSource, SettingsSource } from '../sources/source.ts';
import { StatusBook } from './status/book.ts';
import { type ProgrammedTeller, Programming } from './status/programmed.ts';
import { statusRounds } from './status/rounds.ts';
import { changesBetween } from './translate/changes.ts';
import { type Translation, translate, translationCache } from './translate/translator.ts';
import { DEFAULT_XDS_LIMITS } from './xds/limits.ts';
import { type XdsServer, xdsServer } from './xds/server.ts';

export interface PipelineOptions {
  /** Whole from the beginning. Whoever opened it closes it, and calls `changed` after each change, as of the settings. */
  readonly objects: ObjectSource;
  readonly settings: SettingsSource;
  /** PEM: what every proxy is told to trust. */
  readonly trustBundlePem: () => string;
  readonly clock: Clock;
  readonly log: Logger;
  /** After each mesh that was put in force: how long it took from objects to resources. Milliseconds. */
  readonly onBuilt: (tookMs: number) => void;
  /** Where this is one of several replicas: tells `Programmed` from the proxies of all, given what its own ones say. */
  readonly programmed?: (own: Programming, statuses: readonly ObjectStatus[]) => ProgrammedTeller;
}

export interface Pipeline {
  mesh(): Mesh;
  settings(): MeshSettings;
  objects(): readonly SourcedObject[];
  problems(): readonly Problem[];
  statuses(): readonly ObjectStatus[];
  findStatus(object: SourcedObject['object']): ObjectStatus | undefined;
  /** `status` of an object as Kubernetes shows it; undefined where nothing is said about it. */
  statusOf(object: SourcedObject['object']): JsonObject | undefined;
  readonly xds: XdsServer;
  /** The objects or the settings are others than before. */
  changed(): void;
  /** What is known of proxies elsewhere is other than before. */
  proxiesChanged(): void;
  onChange(listener: () => void): () => void;
  close(): void;
}

/**
 * A config change's way, from top to bottom: sources → model → translate → xds, and acknowledgements back into status.
 * Whatever fails on the way, the last mesh that went through stays in force.
 */
export function startPipeline(options: PipelineOptions): Pipeline {
  const { clock, log } = options;
  const cache = translationCache();
  const book = new StatusBook(clock);
  const listeners = new Set<() => void>();

  // 1. sources: the mesh's settings, and the objects of folders or of an API server.
  const { objects: source, settings } = options;
  const { trustDomain } = settings.current().settings;

  // 2. model: all objects become one mesh; a pure function, so that a rebuild always gives the same.
  // What says the same in the mesh before is the same object in the next one, and isn't encoded again.
  const build = (before?: Mesh): Mesh =>
    buildMesh(source.current().objects, { ...settings.current().settings, trustDomain }, before);

  // 3. translate: the mesh as xDS resources, made for each client on demand.
  const translated = (mesh: Mesh): Translation => translate(mesh, options.trustBundlePem(), cache);

  let translation = translated(build());

  // 4. xds: every stream gets what changed of what it asked for.
  const xds = xdsServer({
    ...{ translation: () => translation, limits: DEFAULT_XDS_LIMITS, clock, log },
    onProxies: () => rounds.soon(),
  });

  let closed = false;
  const changed = () => {
    if (closed) return;
    const startedMs = clock.now();
    const before = translation;
    try {
      translation = translated(build(before.mesh));
    } catch (thrown) {
      log.error('the objects could not be taken in; the mesh before them stays in force', {
        error: messageOf(thrown),
      });
      return;
    }
    options.onBuilt(clock.now() - startedMs);
    xds.changed(changesBetween(before, translation));
    // Proxies get the change first, in their streams' next turn; then what became of it is told.
    setImmediate(rounds.now);
  };

  // 5. status: what the model thinks of each object, and whether the proxies concerned have taken it.
  const rounds = statusRounds({
    ...{ clock, log },
    round: () => {
      const { statuses } = translation.mesh;
      const own = new Programming(translation, xds.trackers());
      book.update(statuses, options.programmed?.(own, statuses) ?? own);
      for (const listener of [...listeners]) listener();
    },
  });
  rounds.now();
  const findStatus = ({ kind, metadata }: SourcedObject['object']) =>
    book.find(kind, metadata.namespace ?? '', metadata.name);

  return {
    mesh: () => translation.mesh,
    settings: () => translation.mesh.settings,
    objects: () => source.current().objects,
    problems: () => [
      ...settingsProblems(settings, trustDomain),
      ...source.current().problems,
      ...translation.mesh.problems,
    ],
    statuses: () => book.statuses(),
    findStatus,
    statusOf(object) {
      const status = findStatus(object);
      return status === undefined ? undefined : book.shape(status);
    },
    xds,
    changed,
    proxiesChanged: () => rounds.soon(),
    onChange(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    close() {
      closed = true;
      rounds.close();
      xds.close();
    },
  };
}

/** Certificates name the trust domain: it can't change under them. */
function settingsProblems(settings: SettingsSource, trustDomain: string): readonly Problem[] {
  const state = settings.current();
  if (state.settings.trustDomain === trustDomain) return state.problems;
  const message = `trustDomain stays ${trustDomain} until the mesh is started again`;
  const { place: source } = settings;
  return [...state.problems, { severity: 'warning', source, line: 1, field: 'trustDomain', message }];
}
