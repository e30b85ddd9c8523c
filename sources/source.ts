import type { MeshSettings } from '../model/mesh.ts';
import type { Problem, SourcedObject } from '../model/objects.ts';

/** Everything a source holds at one moment. What didn't change since the moment before is the same object. */
export interface ObjectsState {
  readonly objects: readonly SourcedObject[];
  readonly problems: readonly Problem[];
}

/** Where objects come from: folders of manifests, or an API server. */
export interface ObjectSource {
  /** The last good state, whatever happens to the source. */
  current(): ObjectsState;
  close(): void;
}

/** The settings in force, and what is wrong with what was written. */
export interface SettingsState {
  readonly settings: MeshSettings;
  readonly problems: readonly Problem[];
}

/** Where the mesh's settings come from: a file, or a ConfigMap. */
export interface SettingsSource {
  /** How problems name it: a path, or `ConfigMap heddle-system/heddle`. */
  readonly place: string;
  current(): SettingsState;
  close(): void;
}
