import { en } from "./en.ts";
import { es } from "./es.ts";

/** Every text of the page; a language that lacks one does not compile. */
export type Texts = typeof en;

export type Language = "en" | "es";

export const TEXTS: Readonly<Record<Language, Texts>> = { en, es };
