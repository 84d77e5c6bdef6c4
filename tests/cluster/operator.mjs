// Holds objects of the Prometheus operator, one JSON array on standard input, against the validators that are made of its published schemas.
// node operator.mjs FOLDER-OF-THE-PACKAGE < OBJECTS
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const models = await import(pathToFileURL(join(process.argv[2], "monitoring.coreos.com", "v1", "index.js")));
for (const object of JSON.parse(readFileSync(0, "utf8"))) {
  const Model = models[object.kind];
  if (!Model || object.apiVersion !== "monitoring.coreos.com/v1") throw new Error(`${object.kind} is no kind of the operator`);
  new Model(object).validate();
}
