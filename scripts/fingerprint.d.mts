export function stampOf(root: string): string;
export function builtFrom(root: string): string | undefined;
export function fingerprint(root: string): string;
