import type { Comparison } from "../../../study/comparisons.ts";
import { Format } from "../format.ts";
import { turned, verdictOf } from "../verdict.ts";
import type { Texts } from "./index.ts";

const f = new Format("es");
const seeds = (n: number) => `${n} semilla${n === 1 ? "" : "s"}`;

function pair(comparison: Comparison): string {
  const {
    first,
    second,
    mean,
    seeds: { length: n },
    t,
    images,
  } = turned(comparison);
  const verdict = verdictOf(comparison);
  const above = `${first} está ${f.points(mean)} puntos por encima de ${second}`;
  switch (verdict.kind) {
    case "shown":
      return `${above}, intervalo del 95 % de ${f.points(t!.interval[0])} a ${f.points(t!.interval[1])}; es poco probable que sea azar (p ${eq(t!.holm)} con ${n} semillas, corregido por todos los pares).`;
    case "suggested":
      return `${above}, intervalo del 95 % de ${f.points(t!.interval[0])} a ${f.points(t!.interval[1])}: por sí solo apenas sería azar (p ${eq(t!.p)}), pero entre todos los pares comparados puede serlo (p corregido ${eq(t!.holm)} con ${n} semillas)${verdict.seedsNeeded === undefined ? "" : `; unas ${f.count(verdict.seedsNeeded)} semillas lo aclararían`}.`;
    case "open": {
      const needed =
        verdict.seedsNeeded === undefined
          ? "ni con 1.000 se demostraría una diferencia tan pequeña"
          : `harían falta unas ${f.count(verdict.seedsNeeded)} si es tan grande como parece`;
      return mean === 0
        ? `No se demuestra diferencia entre ${first} y ${second} con ${n} semillas: en promedio son iguales.`
        : `No se demuestra diferencia entre ${first} y ${second} con ${n} semillas (${f.points(mean)} puntos, intervalo del 95 % de ${f.points(t!.interval[0])} a ${f.points(t!.interval[1])}); ${needed}.`;
    }
    case "constant":
      return mean === 0
        ? `${first} y ${second} son iguales con cada una de las ${n} semillas.`
        : `${above} por igual con cada una de las ${n} semillas; sin dispersión no hay con qué contrastarlo.`;
    case "one seed": {
      if (mean === 0)
        return `${first} y ${second} son iguales con la única semilla; no se sabe qué daría otro entrenamiento.`;
      const onImages = {
        shown: `En estas ${f.count(images?.count ?? 0)} imágenes de prueba es poco probable que sea azar (McNemar, p ${eq(images?.clustered.holm ?? 1)}), pero una semilla no dice si otro entrenamiento lo repetiría`,
        open: `Ya en estas ${f.count(images?.count ?? 0)} imágenes de prueba puede ser azar (McNemar, p ${eq(images?.clustered.holm ?? 1)}), y una semilla no dice qué daría otro entrenamiento`,
        unknown: "Una semilla no dice si otro entrenamiento lo repetiría",
      }[verdict.images];
      return `${above} con una semilla. ${onImages}.`;
    }
  }
}

const eq = (p: number) => (p < 0.001 ? f.p(p) : `= ${f.p(p)}`);

export const es: Texts = {
  title: (studies) => `${studies}: una comparación`,
  pair,
  skip: "Ir al contenido",
  theme: { label: "Tema", system: "del sistema", light: "claro", dark: "oscuro" },
  written: (date, version) => `Escrito el ${date} por atento ${version}.`,
  lead: (data, classes, size, variants, n) =>
    `${variants} variante${variants === 1 ? "" : "s"} × ${seeds(n)} con ${data}: ${classes} clases, ${size} píxeles.`,
  judged: (held) =>
    held === "test"
      ? "El conjunto de prueba sirvió también de validación."
      : held === 0
        ? "No se apartó nada para validar."
        : `Se apartaron ${f.count(held)} imágenes de entrenamiento para validar.`,
  unfinished: (done, all) =>
    `Este estudio no ha terminado: ${done} de ${all} entrenamientos están hechos. Las cifras son de esos; las curvas muestran lo que hay.`,
  sections: {
    summary: "En palabras",
    table: "La comparación",
    pairs: "¿Es real?",
    curves: "El entrenamiento",
    cost: "Lo que cuesta",
    classes: "Clase por clase",
    heatmaps: "Dónde mira",
    gates: "Lo que la atención deja pasar",
    disagree: "Dónde discrepan",
    recipe: "Repetirlo",
  },
  summary: {
    best: "¿Qué variante es la mejor?",
    much: "¿Por cuánto?",
    real: "¿Es real?",
    cost: "¿Qué cuesta?",
    looks: "¿Dónde mira?",
    nothing: "Todavía no ha terminado ningún entrenamiento.",
    highest: (name, accuracy, interval, n) =>
      interval
        ? `${name} tiene la mayor exactitud de prueba: ${accuracy} de media con ${seeds(n)} (intervalo del 95 %: ${interval}).`
        : `${name} tiene la mayor exactitud de prueba: ${accuracy}, con una semilla.`,
    tie: (names, accuracy) => `${names} comparten la mayor exactitud de prueba, ${accuracy}.`,
    alone: (name, accuracy) => `${name} está sola: acierta el ${accuracy} de las imágenes de prueba.`,
    ahead: (points, second, interval) =>
      `${points} puntos de exactitud de prueba por encima de ${second}, la siguiente${interval ? ` (intervalo del 95 % de la diferencia: ${interval})` : ""}.`,
    range: (low, lowest) => `La más baja, ${lowest}, llega al ${low}.`,
    nothingToCompare: "No hay una segunda variante con la que compararla.",
    notPaired: "Las dos mejores variantes no comparten ninguna semilla: no pueden compararse por pares.",
    noneShown: (pairs) => `De ${pairs} pares de variantes, ninguno se distingue con estas semillas.`,
    someShown: (shown, pairs) =>
      `De ${pairs} pares de variantes, ${shown} se ${shown === 1 ? "distingue" : "distinguen"} con estas semillas.`,
    oneSeed:
      "Con una semilla no se puede concluir nada de las recetas, solo de estas redes en particular: entrene al menos tres semillas (--seeds 1,2,3).",
    same: (name) => `${name} es también la primera variante, con la que se miden las demás.`,
    costs: (name, baseline, parameters, multiplyAdds, speed) =>
      `Frente a ${baseline}, ${name} tiene ${parameters} parámetros, ${multiplyAdds} multiplicaciones y sumas, y entrena ${speed}.`,
    more: (share) => `un ${share} más de`,
    fewer: (share) => `un ${share} menos de`,
    equal: "los mismos",
    faster: (share) => `un ${share} más rápido`,
    slower: (share) => `un ${share} más despacio`,
    alike: "igual de rápido",
    sizes: (parameters, multiplyAdds, speed) =>
      `${parameters} parámetros, ${multiplyAdds} multiplicaciones y sumas por imagen, ${speed} imágenes/s al entrenar.`,
    pointing: (method, name, share, others) =>
      `El máximo de ${method} cae sobre el objeto en el ${share} de las imágenes con ${name}${others}.`,
    energy: (method, name, share, others) =>
      `El ${share} de ${method} cae sobre el objeto con ${name}${others}.`,
    insertion: (method, name, value, others) =>
      `${method} de ${name} tiene un área de inserción de ${value}${others}: cuanto mayor, más deciden los píxeles que señala.`,
    against: (list) => ` (${list})`,
    seen: "Los mapas de calor de abajo lo muestran imagen por imagen.",
    noMaps: "Todavía no se han calculado mapas de calor: los hace atento study.",
  },
  table: {
    variant: "variante",
    trainAccuracy: "exact. entren. %",
    validationAccuracy: "exact. val. %",
    testAccuracy: "exact. prueba %",
    trainLoss: "pérdida entren.",
    validationLoss: "pérdida val.",
    testLoss: "pérdida prueba",
    parameters: "parámetros",
    multiplyAdds: "mult. y sumas",
    imagesPerSecond: "imágenes/s",
    runs: "semillas",
    sortHint:
      "Elija un título para ordenar por él. Lo mejor de cada columna va en negrita y con una estrella.",
    note: (several) =>
      `${several ? "Media ± desviación muestral entre semillas; debajo, el intervalo del 95 % de la media. " : ""}Las cifras de entrenamiento son medias de la última época, en modo de entrenamiento; los parámetros, sin estadísticas móviles; multiplicaciones y sumas de una imagen hacia delante; imágenes/s al entrenar.`,
    missing: (variant, seed, what) => `${variant}, semilla ${seed}: ${what}`,
    states: {
      running: "se está entrenando, o fue interrumpido a la fuerza",
      interrupted: "está interrumpido",
      failed: "falló",
      done: "hecho",
      absent: "sin empezar",
    },
    epochs: (done, all) => `${done} de ${all} épocas`,
  },
  pairs: {
    intro:
      "Entre una cifra y la verdad hay dos clases de azar: otras semillas habrían dado otras redes, y otras imágenes de prueba las habrían juzgado de otro modo. La barra gruesa es el intervalo del 95 % entre semillas (t pareada); la línea fina, el de las imágenes de prueba (bootstrap). Los intervalos son de un par; los valores p están corregidos por todos los pares (Holm).",
    axis: "diferencia de exactitud de prueba, puntos porcentuales",
    details: "cifras",
    differences: "diferencia, semilla a semilla",
    t: "t pareada",
    wilcoxon: "rangos con signo de Wilcoxon, exacta",
    effect: "tamaño del efecto d_z",
    clustered: "McNemar, todas las semillas",
    mcnemar: (seed) => `McNemar, semilla ${seed}, exacta`,
    bootstrap: "bootstrap de imágenes de prueba, 95 %",
    needed: "semillas necesarias (potencia 80 %)",
    only: (a, x, b, y) => `solo acierta ${a}: ${x}, solo acierta ${b}: ${y}`,
    p: (p, holm) => `p ${p}, corregido ${holm}`,
    beyond: "más de 1.000",
    wilcoxonLimit: (n, least) => `con ${n} semillas su p no puede bajar de ${least}`,
    none: "No hay dos variantes con un entrenamiento terminado de la misma semilla.",
    noImages: "No constan las predicciones imagen por imagen: se entrenó con una versión anterior.",
    points: "puntos",
  },
  curves: {
    training: "Entrenamiento",
    validation: "Validación",
    accuracy: "exactitud",
    loss: "pérdida",
    metric: "Mostrar",
    log: "escala logarítmica",
    smoothing: "Suavizado",
    zoomIn: "Acercar",
    zoomOut: "Alejar",
    all: "Todas las épocas",
    epoch: "época",
    hint: "Arrastre sobre una gráfica para acercarse a esas épocas. Con el teclado: las flechas recorren las épocas, + y − acercan y alejan, 0 muestra todas.",
    band: (several) =>
      several ? "Línea: media entre semillas. Banda: de la semilla más baja a la más alta." : "",
    label: (panel, metric, variants) => `${panel}: ${metric} por época de ${variants}`,
    variants: "Variantes",
    none: "Todavía no ha terminado ninguna época.",
  },
  cost: {
    axis: "Frente a",
    parameters: "parámetros",
    multiplyAdds: "multiplicaciones y sumas por imagen",
    imagesPerSecond: "imágenes/s al entrenar",
    accuracy: "exactitud de prueba",
    label: (x) => `Exactitud de prueba frente a ${x}`,
    note: (several) => (several ? "Barras: intervalo del 95 % de la media entre semillas." : ""),
  },
  classes: {
    perClass: "Exactitud de cada clase, %",
    confusion: "Matriz de confusión",
    class: "clase",
    range: "margen",
    variant: "Variante",
    truth: "clase verdadera",
    predicted: "predicha",
    note: (n) =>
      `Imágenes de prueba, ${n === 1 ? "una semilla" : `${n} semillas juntas`}. Las filas son clases verdaderas; las columnas, predicciones; el sombreado es la parte de la fila.`,
    none: "Ningún entrenamiento terminado tiene cifras del conjunto de prueba.",
  },
  heatmaps: {
    method: "Método",
    seed: "Semilla",
    strength: "Intensidad del mapa",
    outline: "contorno del objeto",
    image: "imagen",
    more: (n) => `Mostrar ${n} imágenes más`,
    layer: (layer) => `Mapas de ${layer}, divididos por su máximo.`,
    scores: "Cifras del método elegido, media de imágenes y semillas",
    missing: "No se han calculado mapas de calor de este estudio: los hace atento study, otra vez.",
    unfinished: (variants) => `Sin mapas de calor: ${variants}.`,
    tooLarge: "Los mapas de esta semilla se dejan fuera para que la página siga siendo pequeña.",
    caption: (predicted, right) => `${right ? "✓" : "✗"} ${predicted}`,
    alt: (method, variant, label) => `${method} de ${variant} sobre una imagen de ${label}`,
    scale: ["poco", "mucho"],
    names: {
      insertion: "inserción ↑",
      deletion: "borrado ↓",
      road: "ROAD ↑",
      drop: "caída ↓",
      increase: "aumento ↑",
      pointing: "puntería ↑",
      energy: "energía ↑",
      iou: "IoU ↑",
      sanity: "cordura",
    },
    explain: {
      insertion: "área bajo la probabilidad de la clase cuando los píxeles señalados aparecen primero",
      deletion: "área bajo la probabilidad de la clase cuando los píxeles señalados desaparecen primero",
      road: "ROAD: cuánto menos importa quitar los píxeles menos señalados que los más señalados",
      drop: "caída media de la confianza cuando solo queda la parte señalada",
      increase: "parte de las imágenes con más confianza cuando solo queda la parte señalada",
      pointing: "parte de las imágenes cuyo máximo cae sobre el objeto",
      energy: "parte del mapa que cae sobre el objeto",
      iou: "solape con el objeto con el mejor umbral",
      sanity: "parecido con el mapa de una red de pesos aleatorios",
    },
  },
  gates: {
    missing: "No constan compuertas: vienen con los mapas de calor, de las variantes con atención.",
    intro:
      "Por cuánto multiplica cada módulo de atención sus canales, por etapa: media de canales y clases (marca), el 80 % central de los canales (barra) y cuánto difieren las clases (impreso: desviación media entre clases). Una compuerta igual para toda clase y canal no hace nada.",
    layer: "Módulo",
    strip: (layer) =>
      `Canales de ${layer} (ordenados por su media) por clase: claro es abierto, oscuro es cerrado`,
    spatial: (layer) => `Dónde está abierto ${layer}, por clase`,
    stage: "etapa",
    axis: "compuerta",
    between: (value) => `clases ± ${value}`,
    label: "Compuerta media de cada módulo de atención",
  },
  disagree: {
    missing: "Las imágenes se muestran cuando se hayan calculado los mapas de calor.",
    none: "De las imágenes con mapas de calor, las variantes no discrepan en ninguna.",
    intro: (n, all) =>
      `Las variantes predicen clases distintas en ${n} de las ${all} imágenes con mapas de calor (semilla elegida arriba).`,
    counts: (n, all, seed) =>
      `Al menos dos variantes difieren en ${n} de las ${all} imágenes de prueba (semilla ${seed}).`,
    truth: (label, index) => `${label} (imagen ${index})`,
  },
  recipe: {
    command: "La orden",
    copy: "Copiar",
    copied: "Copiado",
    differs: "En qué difieren las variantes",
    shared: "Lo que comparten",
    setting: "ajuste",
    environment: "Dónde se calculó",
    runs: "entrenamientos",
    all: "todos",
    settings: "Todos los ajustes (study.json)",
    resume:
      "La misma orden continúa donde un estudio se detuvo, y da los mismos bits con cualquier número de hilos.",
  },
};
