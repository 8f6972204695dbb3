// Written by scripts/registry.mjs from the files of this folder.
import type { CamMethod } from "../spec.ts";
import { method as ablationCam } from "./ablation-cam.ts";
import { method as eigenCam } from "./eigen-cam.ts";
import { method as eigenGradCam } from "./eigen-grad-cam.ts";
import { method as elementWise } from "./element-wise.ts";
import { method as gradCam } from "./grad-cam.ts";
import { method as gradCamPlusPlus } from "./grad-cam-plus-plus.ts";
import { method as gradients } from "./gradients.ts";
import { method as hiresCam } from "./hires-cam.ts";
import { method as layerCam } from "./layer-cam.ts";
import { method as scoreCam } from "./score-cam.ts";
import { method as segEigenCam } from "./seg-eigen-cam.ts";
import { method as smoothGrad } from "./smooth-grad.ts";
import { method as xgradCam } from "./xgrad-cam.ts";

/** Methods of explanation by name. */
export const methods: ReadonlyMap<string, CamMethod> = new Map(
  [
    ablationCam,
    eigenCam,
    eigenGradCam,
    elementWise,
    gradCam,
    gradCamPlusPlus,
    gradients,
    hiresCam,
    layerCam,
    scoreCam,
    segEigenCam,
    smoothGrad,
    xgradCam,
  ].map((spec) => [spec.name, spec]),
);
