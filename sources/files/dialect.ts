import { Scalar, type ScalarTag, stringify, type Tags } from 'yaml';

const INT = 'tag:yaml.org,2002:int';
const FLOAT = 'tag:yaml.org,2002:float';
const TRUE = /^(?:[yY]|[yY]es|YES|[oO]n|ON)$/;

function older(tag: string, test: RegExp, resolve: (text: string) => unknown): ScalarTag {
  // Nothing new is written so: a value of these kinds is identified by the tags of YAML 1.2.
  return { tag, default: true, identify: () => false, test, resolve: (text) => new Scalar(resolve(text)) };
}

function integer(test: RegExp, digitsFrom: number, radix: number): ScalarTag {
  return older(INT, test, (text) => {
    const digits = text.replace(/^[-+]/, '').replaceAll('_', '').slice(digitsFrom);
    return Number.parseInt(digits, radix) * (text.startsWith('-') ? -1 : 1);
  });
}

const OLDER: readonly ScalarTag[] = [
  older('tag:yaml.org,2002:bool', /^(?:[yYnN]|[yY]es|YES|[nN]o|NO|[oO]n|ON|[oO]ff|OFF)$/, (text) =>
    TRUE.test(text),
  ),
  integer(/^[-+]?0_*[0-7][0-7_]*$/, 1, 8),
  integer(/^[-+]?0_*[oO]_*[0-7][0-7_]*$/, 2, 8),
  integer(/^[-+]?0_*[bB]_*[01][01_]*$/, 2, 2),
  integer(/^[-+]?0_*[xX]_*[0-9a-fA-F][0-9a-fA-F_]*$/, 2, 16),
  integer(/^[-+]?[1-9][0-9]*_[0-9_]*$/, 0, 10),
  older(FLOAT, /^(?=.*_)[-+]?[0-9][0-9_]*(?:\.[0-9_]*)?(?:_*[eE][-+]?_*[0-9][0-9_]*)?$/, (text) =>
    Number(text.replaceAll('_', '')),
  ),
];

/**
 * For `customTags`: what kubectl takes for booleans and numbers beyond YAML 1.2 (sigs.k8s.io/yaml, `goyaml.v2/resolve.go`),
 * such as `yes`, `0755` and `1_000`.
 */
export function kubectlTags(tags: Tags): Tags {
  return [...OLDER, ...tags];
}

/** Whether a scalar is a boolean to kubectl and a text to YAML 1.2. */
export function isOlderBoolean({ value, source, type }: Scalar): boolean {
  return typeof value === 'boolean' && type === 'PLAIN' && !/^(?:true|false)$/i.test(source ?? '');
}

/** YAML for people and for kubectl: texts that are something else to either are quoted. */
export function yamlText(value: unknown): string {
  return stringify(value, { lineWidth: 0, compat: 'yaml-1.1', customTags: kubectlTags });
}
