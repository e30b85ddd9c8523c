import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { join } from 'node:path';
import type { Clock, Timer } from '../../common/clock.ts';
import type { Dialer } from '../../common/net.ts';
import type { Random } from '../../common/random.ts';
import type { KubeObject } from '../../model/objects.ts';
import { at, listAt, numberAt, objectAt, textAt, textsAt } from '../kube/fields.ts';
import { objectKey } from '../kube/kinds.ts';
import { admitPod, type WebhookAddress, webhookSelects } from './admission.ts';
import { writeAtomically } from '../../common/atomic-file.ts';
import { ADMISSION_BACKOFF, Backoff } from './backoff.ts';
import { stableJson } from './json-patch.ts';
import { LoadBalancers } from './load-balancer.ts';
import { Pod, type PodHost } from './pod.ts';
import { podSpecOf } from './pod-spec.ts';
import { planRollout } from './rollout.ts';
import {
  ClusterIps,
  endpointSlices,
  nodeName,
  selectedPods,
  serviceWithStatus,
  targetPortOf,
} from './services.ts';

export interface ClusterSettings {
  readonly clock: Clock;
  readonly random: Random;
  readonly dialer: Dialer;
  readonly nodes: number;
  readonly runtimeDirectory: string;
  readonly host: Omit<PodHost, 'configMap' | 'onChange'>;
  webhook(): WebhookAddress | undefined;
  /** Runs after every reconciliation that changed something to see. */
  onChange(): void;
}

/** Who wants pods: a Deployment, a Job, or a bare Pod of the manifests. */
interface Owner {
  readonly key: string;
  readonly object: KubeObject;
}

interface OwnedPod {
  readonly pod: Pod;
  readonly owner: string;
  readonly hash: string;
}

/** Why an owner's pods can't be created now. */
interface Hold {
  readonly reason: string;
  readonly retry: Backoff;
  timer: Timer | undefined;
}

const settleMs = 10;
const jobBackoffLimit = 6;
const NAME_CHARS = 'bcdfghjklmnpqrstvwxz2456789';

/**
 * The controllers of the local mesh: makes what runs equal to what the objects ask for, one small step after each
 * change, and writes what it made to the runtime directory, where control plane and commands read it.
 */
export class Cluster {
  readonly #settings: ClusterSettings;
  readonly #host: PodHost;
  readonly #ips = new ClusterIps();
  readonly #balancers: LoadBalancers;
  readonly #holds = new Map<string, Hold>();
  readonly #creating = new Map<string, number>();
  readonly #jobFailures = new Map<string, number>();
  readonly #finishedJobs = new Set<string>();
  #objects = new Map<string, KubeObject>();
  #pods: OwnedPod[] = [];
  #timer: Timer | undefined;
  #written = '';
  #nextNode = 0;
  #closed = false;
  #reconciled = false;

  constructor(settings: ClusterSettings) {
    this.#settings = settings;
    this.#host = {
      ...settings.host,
      configMap: (namespace, name) => {
        const map = this.#objects.get(`ConfigMap/${namespace}/${name}`);
        return map === undefined ? undefined : textsAt(map.data);
      },
      onChange: () => this.#schedule(),
    };
    this.#balancers = new LoadBalancers(settings.dialer, () => this.#schedule());
  }

  /** The objects in force, later ones over earlier ones of the same name. */
  setObjects(objects: readonly KubeObject[]): void {
    const now = new Date(this.#settings.clock.wallMs()).toISOString();
    const dated = objects.map((object): [string, KubeObject] => {
      const key = objectKey(object);
      const known = this.#objects.get(key)?.metadata.creationTimestamp;
      const creationTimestamp = object.metadata.creationTimestamp ?? known ?? now;
      return [key, { ...object, metadata: { ...object.metadata, creationTimestamp } }];
    });
    this.#objects = new Map(dated);
    for (const hold of this.#holds.values()) hold.timer?.cancel();
    this.#holds.clear();
    this.#reconciled = false;
    this.#schedule();
  }

  pods(): readonly Pod[] {
    return this.#pods.map((owned) => owned.pod);
  }

  published(): readonly { key: string; port: number; publishedPort: number }[] {
    return this.#balancers.published();
  }

  deployments(): readonly { name: string; wanted: number; ready: number; trouble: string | undefined }[] {
    return this.#owners()
      .filter((owner) => owner.object.kind === 'Deployment')
      .map((owner) => {
        const hash = templateHash(owner.object);
        const pods = this.#pods.filter((owned) => owned.owner === owner.key && owned.hash === hash);
        const trouble = pods.map((owned) => owned.pod).find((pod) => pod.trouble !== undefined);
        return {
          name: owner.key.replace('Deployment/', ''),
          wanted: replicasOf(owner.object),
          ready: pods.filter((owned) => owned.pod.ready && !owned.pod.terminating).length,
          trouble:
            this.#holds.get(owner.key)?.reason ??
            (trouble === undefined
              ? undefined
              : `pod ${trouble.object.metadata.name}: ${trouble.trouble?.message}`),
        };
      });
  }

  /** Whether the last objects have been looked at and nothing is under way that isn't a pod's own start. */
  settled(): boolean {
    return this.#reconciled && this.#creating.size === 0 && this.#balancers.settled();
  }

  /** Deletes every pod, apps first. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#timer?.cancel();
    for (const hold of this.#holds.values()) hold.timer?.cancel();
    this.#balancers.close();
    await Promise.all(this.#pods.map((owned) => owned.pod.delete()));
  }

  #schedule(): void {
    if (this.#closed || this.#timer !== undefined) return;
    this.#timer = this.#settings.clock.after(settleMs, () => {
      this.#timer = undefined;
      if (this.#closed) return;
      this.#reconcile();
      this.#publish();
      this.#reconciled = true;
      this.#settings.onChange();
    });
  }

  #owners(): readonly Owner[] {
    return [...this.#objects]
      .filter(([, object]) => ['Deployment', 'Job', 'Pod'].includes(object.kind))
      .map(([key, object]) => ({ key, object }));
  }

  #reconcile(): void {
    const owners = this.#owners();
    const known = new Set(owners.map((owner) => owner.key));
    for (const owned of this.#pods) if (!known.has(owned.owner)) this.#delete(owned);
    for (const owner of owners) {
      if (owner.object.kind === 'Deployment') this.#reconcileDeployment(owner);
      else if (owner.object.kind === 'Job') this.#reconcileJob(owner);
      else this.#reconcileBarePod(owner);
    }
  }

  #reconcileDeployment(owner: Owner): void {
    const hash = templateHash(owner.object);
    const owned = this.#pods.filter((entry) => entry.owner === owner.key);
    const strategy = objectAt(owner.object.spec, 'strategy');
    const bound = (key: string) => {
      const value = at(strategy, 'rollingUpdate', key);
      return typeof value === 'number' || typeof value === 'string' ? value : '25%';
    };
    const plan = planRollout(
      {
        replicas: replicasOf(owner.object),
        strategy: textAt(strategy, 'type') === 'Recreate' ? 'Recreate' : 'RollingUpdate',
        maxSurge: bound('maxSurge'),
        maxUnavailable: bound('maxUnavailable'),
      },
      owned.map(({ pod, hash: podHash }) => ({
        ...{ name: pod.object.metadata.name, current: podHash === hash, ready: pod.ready },
        ...{ terminating: pod.terminating, createdAtMs: pod.createdAtMs },
      })),
    );
    for (const entry of owned) if (plan.remove.includes(entry.pod.object.metadata.name)) this.#delete(entry);
    const missing = plan.create - (this.#creating.get(owner.key) ?? 0);
    for (let count = 0; count < missing; count++)
      this.#create(owner, hash, `${owner.object.metadata.name}-${hash}-${this.#suffix()}`);
  }

  #reconcileBarePod(owner: Owner): void {
    const hash = templateHash(owner.object);
    const [existing] = this.#pods.filter((entry) => entry.owner === owner.key);
    if (existing !== undefined && existing.hash !== hash) this.#delete(existing);
    if (existing === undefined && !this.#creating.has(owner.key))
      this.#create(owner, hash, owner.object.metadata.name);
  }

  #reconcileJob(owner: Owner): void {
    const hash = templateHash(owner.object);
    const run = `${owner.key}#${hash}`;
    if (this.#finishedJobs.has(run)) return;
    const owned = this.#pods.filter((entry) => entry.owner === owner.key && entry.hash === hash);
    const failures = owned.filter((entry) => entry.pod.phase === 'Failed').length;
    this.#jobFailures.set(run, failures);
    if (owned.some((entry) => entry.pod.phase === 'Succeeded')) {
      this.#finishedJobs.add(run);
      return;
    }
    const active = owned.some((entry) => ['Pending', 'Running'].includes(entry.pod.phase));
    const limit = numberAt(owner.object.spec, 'backoffLimit') ?? jobBackoffLimit;
    if (!active && failures <= limit && !this.#creating.has(owner.key))
      this.#create(owner, hash, `${owner.object.metadata.name}-${this.#suffix()}`);
  }

  #create(owner: Owner, hash: string, name: string): void {
    if (this.#holds.get(owner.key)?.timer !== undefined) return;
    this.#creating.set(owner.key, (this.#creating.get(owner.key) ?? 0) + 1);
    const node = this.#nextNode++ % this.#settings.nodes;
    void this.#admit(owner, this.#newPod(owner, hash, name, node)).then((object) => {
      const left = (this.#creating.get(owner.key) ?? 1) - 1;
      if (left > 0) this.#creating.set(owner.key, left);
      else this.#creating.delete(owner.key);
      if (object === undefined || this.#closed || !this.#objects.has(owner.key)) {
        this.#schedule();
        return;
      }
      const pod = new Pod(this.#host, object, node);
      this.#pods.push({ pod, owner: owner.key, hash });
      this.#schedule();
      void pod.start();
    });
  }

  /** The pod as admission leaves it; undefined where it may not be created yet, and then it is tried again later. */
  async #admit(owner: Owner, pod: KubeObject): Promise<KubeObject | undefined> {
    const namespace = pod.metadata.namespace ?? 'default';
    const account = podSpecOf(pod).serviceAccount;
    if (account !== 'default' && !this.#objects.has(`ServiceAccount/${namespace}/${account}`))
      return this.#hold(owner, `ServiceAccount "${account}" doesn't exist in namespace ${namespace}`);
    const labels = this.#objects.get(`Namespace//${namespace}`)?.metadata.labels ?? {};
    if (!webhookSelects(labels, pod.metadata.labels ?? {})) {
      this.#release(owner);
      return pod;
    }
    const webhook = this.#settings.webhook();
    if (webhook === undefined) return this.#hold(owner, "the injection webhook isn't running yet");
    const admitted = await admitPod(webhook, pod, randomUUID());
    if (!admitted.ok) return this.#hold(owner, admitted.error.message);
    this.#release(owner);
    return admitted.value;
  }

  #hold(owner: Owner, reason: string): undefined {
    if (this.#closed) return undefined;
    const known = this.#holds.get(owner.key);
    known?.timer?.cancel();
    const hold: Hold = { reason, retry: known?.retry ?? new Backoff(ADMISSION_BACKOFF), timer: undefined };
    this.#holds.set(owner.key, hold);
    hold.timer = this.#settings.clock.after(hold.retry.next(0), () => {
      hold.timer = undefined;
      this.#schedule();
    });
    return undefined;
  }

  #release(owner: Owner): void {
    this.#holds.get(owner.key)?.timer?.cancel();
    this.#holds.delete(owner.key);
  }

  #newPod(owner: Owner, hash: string, name: string, node: number): KubeObject {
    const bare = owner.object.kind === 'Pod';
    const template = bare ? owner.object : objectAt(owner.object.spec, 'template');
    const namespace = owner.object.metadata.namespace ?? 'default';
    const hashLabel = owner.object.kind === 'Deployment' ? { 'pod-template-hash': hash } : {};
    return {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: {
        name,
        namespace,
        uid: randomUUID(),
        creationTimestamp: new Date(this.#settings.clock.wallMs()).toISOString(),
        labels: { ...textsAt(template, 'metadata', 'labels'), ...hashLabel },
        annotations: textsAt(template, 'metadata', 'annotations'),
        ...(bare ? {} : { ownerReferences: [ownerReference(owner.object, hash)] }),
      },
      spec: { serviceAccountName: 'default', ...objectAt(template, 'spec'), nodeName: nodeName(node) },
    };
  }

  #delete(owned: OwnedPod): void {
    if (owned.pod.terminating) return;
    void owned.pod.delete().then(() => {
      this.#pods = this.#pods.filter((entry) => entry !== owned);
      this.#schedule();
    });
  }

  #suffix(): string {
    let text = '';
    for (const byte of randomBytes(5)) text += NAME_CHARS[byte % NAME_CHARS.length] ?? 'x';
    return text;
  }

  /** Writes what runs, whole and only when it changed. */
  #publish(): void {
    const services = [...this.#objects.values()].filter((object) => object.kind === 'Service');
    const pods = this.pods();
    this.#ips.assign(services);
    this.#balance(services, pods);
    const made: KubeObject[] = pods.map((pod) => pod.toObject());
    for (const service of services) {
      const key = `${service.metadata.namespace ?? 'default'}/${service.metadata.name}:`;
      const published = this.#balancers.published().filter((entry) => entry.key.startsWith(key));
      made.push(
        serviceWithStatus(service, this.#ips.of(service), published),
        ...endpointSlices(service, pods),
      );
    }
    for (const owner of this.#owners()) {
      if (owner.object.kind === 'Deployment') made.push(this.#deploymentStatus(owner));
      if (owner.object.kind === 'Job') made.push(this.#jobStatus(owner));
    }
    const text = made.map((object) => `---\n${JSON.stringify(object)}\n`).join('');
    if (text === this.#written) return;
    this.#written = text;
    writeAtomically(join(this.#settings.runtimeDirectory, 'runtime.yaml'), text);
  }

  #balance(services: readonly KubeObject[], pods: readonly Pod[]): void {
    const wanted = new Map<string, { port: number; backends: { host: string; port: number }[] }>();
    for (const service of services) {
      if (textAt(service.spec, 'type') !== 'LoadBalancer') continue;
      const ready = selectedPods(service, pods).filter((pod) => pod.ready && !pod.terminating);
      for (const port of listAt(service.spec, 'ports')) {
        const number = numberAt(port, 'port');
        if (number === undefined) continue;
        const backends = ready.flatMap((pod) => {
          const target = targetPortOf(port, pod);
          return target === undefined ? [] : [{ host: pod.ips[0] ?? '', port: target }];
        });
        const key = `${service.metadata.namespace ?? 'default'}/${service.metadata.name}:${number}`;
        wanted.set(key, { port: number, backends });
      }
    }
    this.#balancers.update(wanted);
  }

  #deploymentStatus(owner: Owner): KubeObject {
    const hash = templateHash(owner.object);
    const pods = this.#pods.filter((entry) => entry.owner === owner.key && !entry.pod.terminating);
    const ready = pods.filter((entry) => entry.pod.ready).length;
    const wanted = replicasOf(owner.object);
    const current = pods.filter((entry) => entry.hash === hash);
    const hold = this.#holds.get(owner.key);
    const available = current.filter((entry) => entry.pod.ready).length >= wanted;
    return {
      ...owner.object,
      status: {
        ...{ replicas: pods.length, readyReplicas: ready, availableReplicas: ready },
        ...{ updatedReplicas: current.length, unavailableReplicas: Math.max(0, wanted - ready) },
        conditions: [
          {
            type: 'Available',
            status: available ? 'True' : 'False',
            ...(hold === undefined ? {} : { reason: 'FailedCreate', message: hold.reason }),
          },
        ],
      },
    };
  }

  #jobStatus(owner: Owner): KubeObject {
    const run = `${owner.key}#${templateHash(owner.object)}`;
    const done = this.#finishedJobs.has(run);
    const failed = this.#jobFailures.get(run) ?? 0;
    const limit = numberAt(owner.object.spec, 'backoffLimit') ?? jobBackoffLimit;
    const condition = done ? 'Complete' : failed > limit ? 'Failed' : undefined;
    return {
      ...owner.object,
      status: {
        ...{ succeeded: done ? 1 : 0, failed },
        conditions: condition === undefined ? [] : [{ type: condition, status: 'True' }],
      },
    };
  }
}

function replicasOf(deployment: KubeObject): number {
  return numberAt(deployment.spec, 'replicas') ?? 1;
}

/** Of what a change of which makes new pods: the template alone, so that scaling or a ConfigMap restarts nothing. */
function templateHash(owner: KubeObject): string {
  const template =
    owner.kind === 'Pod' ? { spec: owner.spec, labels: owner.metadata.labels } : at(owner.spec, 'template');
  return createHash('sha256')
    .update(stableJson(template ?? null))
    .digest('hex')
    .slice(0, 10);
}

function ownerReference(owner: KubeObject, hash: string) {
  const common = { controller: true, uid: owner.metadata.uid ?? objectKey(owner) };
  return owner.kind === 'Deployment'
    ? { apiVersion: 'apps/v1', kind: 'ReplicaSet', name: `${owner.metadata.name}-${hash}`, ...common }
    : { apiVersion: owner.apiVersion, kind: owner.kind, name: owner.metadata.name, ...common };
}
