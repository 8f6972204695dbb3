import type { Server } from "node:http";

export function serve(model: string, port?: number): Promise<Server>;
