import type { Logger } from '../../../common/log.ts';
import { TYPE } from '../wire/numbers.ts';
import { plainQuestion } from '../wire/question.ts';
import { Flight, type FlightDeps } from './flight.ts';
import { type Upstream, Upstreams, upstreamText } from './upstreams.ts';

export interface CircleProbe {
  start(): void;
  /** True for a name that only our own probe asks for: its upstream leads back here. */
  isOwn(name: string): boolean;
  close(): void;
}

/**
 * Asks each upstream once for a name nobody can know. Where the question comes back, the upstream asks us, and is asked no
 * more; a circle would otherwise cost every outside name its whole time limit.
 */
export function probeForCircles(
  upstreams: readonly Upstream[],
  deps: FlightDeps & { readonly log: Logger; readonly clusterDomain: string },
): CircleProbe {
  const probes = new Map<string, Upstream>();
  const flights = new Set<Flight>();
  return {
    start() {
      for (const upstream of upstreams) {
        const name = `${deps.random.hex(12)}.probe.${deps.clusterDomain}`;
        probes.set(name, upstream);
        const alone = { ...deps, upstreams: new Upstreams([upstream], deps.clock, deps.limits) };
        const flight = new Flight(
          plainQuestion(name, TYPE.HINFO),
          { dnssecOk: false, checkingDisabled: false },
          alone,
          () => {
            probes.delete(name);
            flights.delete(flight);
          },
        );
        flights.add(flight);
        flight.start();
      }
    },
    isOwn(name) {
      const upstream = probes.get(name);
      if (upstream === undefined) return false;
      deps.upstreams.leadsBack(upstream);
      deps.log.error('an upstream asks this server in turn, so it is not asked any more', {
        upstream: upstreamText(upstream),
      });
      return true;
    },
    close() {
      for (const flight of [...flights]) flight.cancel();
    },
  };
}
