// Writes the list of region programs that are compiled ahead, after a change of passes, models or attention modules.
import { writeFileSync } from "node:fs";
import { regionForms } from "../dist/bench/region-forms.js";

writeFileSync(new URL("../native/kernels/region_forms.h", import.meta.url), regionForms());
