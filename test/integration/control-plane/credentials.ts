import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { caClient } from '../../../common/ca/client.ts';
import { makeKeyAndRequest } from '../../../common/ca/csr.ts';
import { spiffeId } from '../../../common/spiffe.ts';
import type { TestMesh } from '../mesh/harness.ts';

export interface PodName {
  readonly namespace: string;
  readonly name: string;
  readonly serviceAccount: string;
}

export interface PodCredentials {
  readonly certificateChainPem: string;
  readonly privateKeyPem: string;
  readonly rootsPem: string;
}

/** Gets a certificate for a pod by its token, as its sidecar does. Rejects where the CA refuses. */
export async function certify(
  mesh: TestMesh,
  pod: PodName,
  uri = spiffeId({ trustDomain: 'cluster.local', ...pod }),
): Promise<PodCredentials> {
  const { namespace, serviceAccount, name } = pod;
  const tokenFile = join(mesh.directory, `${namespace}-${name}-by-hand.token`);
  writeFileSync(tokenFile, mesh.issuer.issue({ namespace, serviceAccount, pod: name }));
  const { csrPem, privateKeyPem } = makeKeyAndRequest(uri);
  const { certificateChainPem, rootsPem } = await caClient({
    controlPlane: `127.0.0.1:${mesh.ports().xds}`,
    trustDomain: 'cluster.local',
    tokenFile,
    rootFile: join(mesh.directory, 'state', 'root.pem'),
    wallMs: () => Date.now(),
  })(csrPem);
  return { certificateChainPem, privateKeyPem, rootsPem };
}
