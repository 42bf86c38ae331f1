// Runs the suite against the cache at the first argument, and prints its groups with the results.
// With a second argument, runs one test and prints its requests and responses.
import { createRequire } from 'module'
import { runTests, getResults } from 'http-cache-tests/client/runner.mjs'
import groups from 'http-cache-tests/tests/index.mjs'

const fetch = createRequire(import.meta.url)('node-fetch')
const [base, only] = process.argv.slice(2)
const chosen = test => !test.browser_only && (!only || test.id === only)
const dumped = test => ({ ...test, dump: Boolean(only) })
const run = groups.map(it => ({ ...it, tests: it.tests.filter(chosen).map(dumped) }))
await runTests(run, fetch, false, base)
const results = getResults()
const report = run.map(group => ({
  name: group.name,
  tests: group.tests.map(({ id, name, kind, depends_on: needs }) => (
    { id, name, kind: kind || 'required', needs: needs || [], result: results[id] }
  ))
}))
// The report is longer than the buffer of a pipe, and `exit` does not wait until it is written.
process.stdout.write(JSON.stringify(report) + '\n', () => process.exit(0))
