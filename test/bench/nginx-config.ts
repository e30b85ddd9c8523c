import { join } from 'node:path';

/** What a server answers, and where it listens. */
export interface FixedAnswer {
  /** Its own folder, which must be its to write to. */
  readonly directory: string;
  /** As nginx writes them: `127.0.0.1:8080`. */
  readonly listens: readonly string[];
  /** The answer to any path. */
  readonly body: string;
  /** A file of `directory` that is sent for the path of its name. */
  readonly file?: string;
}

/** Small bodies are answered from the configuration, which costs the server least. */
const INLINE_BYTES_MAX = 4_096;

/** The configuration of an nginx of one process whose answers never change. */
export function nginxConfig({ directory, listens, body, file }: FixedAnswer): string {
  const answer =
    body.length <= INLINE_BYTES_MAX
      ? `return 200 "${body}";`
      : `root ${directory}; try_files /body.txt =404;`;
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (name) => `  ${name}_temp_path ${join(directory, name)};`,
  );
  return `daemon off;
master_process off;
pid ${directory}/nginx.pid;
error_log stderr crit;
events { worker_connections 4096; }
http {
${temporary.join('\n')}
  access_log off;
  keepalive_requests 1000000000;
  keepalive_timeout 600s;
  open_file_cache max=16;
  sendfile on;
  server {
${listens.map((address) => `    listen ${address} backlog=4096;`).join('\n')}
    location / { default_type text/plain; ${answer} }
${file === undefined ? '' : `    location = /${file} { root ${directory}; }\n`}  }
}
`;
}
