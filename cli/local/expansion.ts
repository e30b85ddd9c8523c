/**
 * Kubernetes' `$(NAME)` in commands, arguments and values: `$$` is a `$`, an unknown name stays as written (Kubernetes,
 * "Define Dependent Environment Variables").
 */
export function expandVariables(text: string, variables: Readonly<Record<string, string>>): string {
  return text.replace(/\$\$|\$\(([A-Za-z_.-][A-Za-z0-9_.-]*)\)/g, (whole, name: string | undefined) => {
    if (name === undefined) return '$';
    return Object.hasOwn(variables, name) ? (variables[name] ?? whole) : whole;
  });
}

/**
 * `text` with a leading mount path replaced by the folder that stands for it on this machine. The longest mount path
 * wins; `/config` does not stand for `/configuration`.
 */
export function rewriteMountPath(text: string, mounts: ReadonlyMap<string, string>): string {
  let best: string | undefined;
  for (const mountPath of mounts.keys()) {
    const inside = text === mountPath || text.startsWith(`${mountPath}/`);
    if (inside && (best === undefined || mountPath.length > best.length)) best = mountPath;
  }
  return best === undefined ? text : `${mounts.get(best) ?? best}${text.slice(best.length)}`;
}
