import type { Clock } from '../common/clock.ts';
import { messageOf } from '../common/errors.ts';
import type { JsonObject } from '../common/json.ts';
import type { Logger } from '../common/log.ts';
import { buildMesh } from '../model/build.ts';
import type { Mesh, MeshSettings, ObjectStatus } from '../model/mesh.ts';
import type { Problem, SourcedObject } from '../model/objects.ts';
import { watchSettings } from '../sources/files/settings.ts';
import { watchFiles } from '../sources/files/watch.ts';
import { StatusBook } from './status/book.ts';
import { Programming } from './status/programmed.ts';
import { statusRounds } from './status/rounds.ts';
import { type Translation, translate, translationCache } from './translate/translator.ts';
import { DEFAULT_XDS_LIMITS } from './xds/limits.ts';
import { type XdsServer, xdsServer } from './xds/server.ts';

export interface PipelineOptions {
  readonly manifests: readonly string[];
  readonly settingsFile: string;
  /** PEM: what every proxy is told to trust. */
  readonly trustBundlePem: () => string;
  readonly clock: Clock;
  readonly log: Logger;
  /** After each mesh that was put in force: how long it took from objects to resources. Milliseconds. */
  readonly onBuilt: (tookMs: number) => void;
}

export interface Pipeline {
  mesh(): Mesh;
  settings(): MeshSettings;
  objects(): readonly SourcedObject[];
  problems(): readonly Problem[];
  statuses(): readonly ObjectStatus[];
  /** `status` of an object as Kubernetes shows it; undefined where nothing is said about it. */
  statusOf(object: SourcedObject['object']): JsonObject | undefined;
  readonly xds: XdsServer;
  onChange(listener: () => void): () => void;
  close(): void;
}

/**
 * A config change's way, from top to bottom: sources → model → translate → xds, and acknowledgements back into status.
 * Whatever fails on the way, the last mesh that went through stays in force.
 */
export async function startPipeline(options: PipelineOptions): Promise<Pipeline> {
  const { clock, log } = options;
  const cache = translationCache();
  const book = new StatusBook(clock);
  const listeners = new Set<() => void>();

  // 1. sources: directories of manifests, and the settings beside them.
  const settingsSource = watchSettings({
    ...{ file: options.settingsFile, clock, log },
    onChange: () => changed(),
  });
  const { trustDomain } = settingsSource.current().settings;
  const files = await watchFiles({
    ...{ directories: options.manifests, clock, log },
    onChange: () => changed(),
  });

  // 2. model: all objects become one mesh; a pure function, so that a rebuild always gives the same.
  // What says the same in the mesh before is the same object in the next one, and isn't encoded again.
  const build = (before?: Mesh): Mesh =>
    buildMesh(files.current().objects, { ...settingsSource.current().settings, trustDomain }, before);

  // 3. translate: the mesh as xDS resources, made for each client on demand.
  const translated = (mesh: Mesh): Translation => translate(mesh, options.trustBundlePem(), cache);

  let translation = translated(build());

  // 4. xds: every stream gets what changed of what it asked for.
  const xds = xdsServer({
    ...{ translation: () => translation, limits: DEFAULT_XDS_LIMITS, clock, log },
    onProxies: () => rounds.soon(),
  });

  const changed = () => {
    const startedMs = clock.now();
    try {
      translation = translated(build(translation.mesh));
    } catch (thrown) {
      log.error('the objects could not be taken in; the mesh before them stays in force', {
        error: messageOf(thrown),
      });
      return;
    }
    options.onBuilt(clock.now() - startedMs);
    xds.changed();
    // Proxies get the change first, in their streams' next turn; then what became of it is told.
    setImmediate(rounds.now);
  };

  // 5. status: what the model thinks of each object, and whether the proxies concerned have taken it.
  const rounds = statusRounds({
    ...{ clock, log },
    round: () => {
      book.update(translation.mesh.statuses, new Programming(translation, xds.trackers()));
      for (const listener of [...listeners]) listener();
    },
  });
  rounds.now();

  return {
    mesh: () => translation.mesh,
    settings: () => translation.mesh.settings,
    objects: () => files.current().objects,
    problems: () => [
      ...settingsProblems(settingsSource.current(), trustDomain, options.settingsFile),
      ...files.current().problems,
      ...translation.mesh.problems,
    ],
    statuses: () => book.statuses(),
    statusOf(object) {
      const status = book.find(object.kind, object.metadata.namespace ?? '', object.metadata.name);
      return status === undefined ? undefined : book.shape(status);
    },
    xds,
    onChange(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    close() {
      rounds.close();
      settingsSource.close();
      files.close();
      xds.close();
    },
  };
}

/** Certificates name the trust domain: it can't change under them. */
function settingsProblems(
  state: { readonly settings: MeshSettings; readonly problems: readonly Problem[] },
  trustDomain: string,
  source: string,
): readonly Problem[] {
  if (state.settings.trustDomain === trustDomain) return state.problems;
  const message = `trustDomain stays ${trustDomain} until the mesh is started again`;
  return [...state.problems, { severity: 'warning', source, line: 1, field: 'trustDomain', message }];
}
