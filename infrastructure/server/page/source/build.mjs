// Builds the page: `node build.mjs` writes ../dist, `node build.mjs --check` compares that with what the sources give.
// Nothing of the machine, and no time, gets into what is built: the same sources always give the same bytes.
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const MAX_COMPRESSED = 150_000;
const here = dirname(fileURLToPath(import.meta.url));
const dist = join(here, "..", "dist");

const built = await build({
  absWorkingDir: here,
  entryPoints: { page: "src/main.tsx", style: "src/style.css" },
  outdir: dist,
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  jsx: "automatic",
  jsxImportSource: "preact",
  legalComments: "none",
  charset: "utf8",
  write: false,
});
const files = built.outputFiles.map(({ path, contents }) => ({ path, contents: Buffer.from(contents) }));
files.push({ path: join(dist, "index.html"), contents: await readFile(join(here, "src", "index.html")) });

const compressed = files.reduce((sum, { contents }) => sum + gzipSync(contents, { level: 9 }).length, 0);
console.log(`${compressed} bytes compressed`);
if (compressed > MAX_COMPRESSED) throw new Error(`more than ${MAX_COMPRESSED}`);

if (process.argv.includes("--check")) {
  for (const { path, contents } of files) {
    const committed = await readFile(path).catch(() => null);
    if (!committed?.equals(contents)) throw new Error(`${path} is not what the sources give: make page`);
  }
} else {
  await mkdir(dist, { recursive: true });
  await Promise.all(files.map(({ path, contents }) => writeFile(path, contents)));
}
