// What fhir-kit-client can do, done once against the hub; prints what came back as JSON. node run.mjs BASE TOKEN
import { Client } from 'fhir-kit-client';

const [base, token] = process.argv.slice(2);
const client = new Client({ baseUrl: base, bearerToken: token });
const seen = {};

const weight = (subject, value) => ({
  resourceType: 'Observation',
  status: 'final',
  code: { coding: [{ system: 'http://loinc.org', code: '29463-7' }] },
  subject: { reference: subject },
  valueQuantity: { value, unit: 'kg', system: 'http://unitsofmeasure.org', code: 'kg' },
});
const status = (error) => error.response.status;

async function main() {
  seen.fhirVersion = (await client.capabilityStatement()).fhirVersion;

  const made = await client.create({
    resourceType: 'Patient',
    body: { resourceType: 'Patient', name: [{ family: 'Fhirkit' }] },
  });
  seen.created = made.meta.versionId;
  const id = made.id;
  const updated = await client.update({ resourceType: 'Patient', id, body: { ...made, birthDate: '1990-01-01' } });
  seen.updated = updated.meta.versionId;
  const patched = await client.patch({
    resourceType: 'Patient', id, jsonPatch: [{ op: 'add', path: '/active', value: false }],
  });
  seen.patched = [patched.active, patched.meta.versionId];

  const history = await client.resourceHistory({ resourceType: 'Patient', id });
  seen.versions = history.entry.map((one) => one.resource.meta.versionId);
  seen.second = (await client.vread({ resourceType: 'Patient', id, version: '2' })).birthDate;

  for (let value = 1; value <= 7; value += 1) {
    await client.create({ resourceType: 'Observation', body: weight(`Patient/${id}`, value) });
  }
  seen.pages = [];
  let page = await client.search({ resourceType: 'Observation', searchParams: { patient: id, _count: 3 } });
  while (page) {
    seen.pages.push(page.entry.length);
    page = await client.nextPage({ bundle: page });
  }
  const chained = await client.search({
    resourceType: 'Observation', searchParams: { 'subject:Patient.family': 'fhirkit' }, options: { postSearch: true },
  });
  seen.chained = chained.total;
  const included = await client.search({
    resourceType: 'Observation', searchParams: { patient: id, _include: 'Observation:subject' },
  });
  seen.included = [...new Set(included.entry.map((one) => one.resource.resourceType))].sort();

  const person = 'urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e1';
  const transaction = await client.transaction({
    body: {
      resourceType: 'Bundle',
      type: 'transaction',
      entry: [
        { fullUrl: person, resource: { resourceType: 'Patient' }, request: { method: 'POST', url: 'Patient' } },
        { resource: weight(person, 3), request: { method: 'POST', url: 'Observation' } },
      ],
    },
  });
  seen.transaction = transaction.entry.map((one) => one.response.status);
  const batch = await client.batch({
    body: { resourceType: 'Bundle', type: 'batch', entry: [{ request: { method: 'GET', url: `Patient/${id}` } }] },
  });
  seen.batch = batch.entry[0].response.status;

  const robot = { resourceType: 'Patient', gender: 'robot' };
  seen.refused = await client.create({ resourceType: 'Patient', body: robot }).then(() => 201, status);
  const all = await client.search({ resourceType: 'Observation', searchParams: { patient: id, _count: 50 } });
  for (const one of all.entry) {
    await client.delete({ resourceType: 'Observation', id: one.resource.id });
  }
  await client.delete({ resourceType: 'Patient', id });
  seen.gone = await client.read({ resourceType: 'Patient', id }).then(() => 200, status);
  process.stdout.write(JSON.stringify(seen));
}

main().catch((error) => {
  process.stderr.write(`${error.stack}\n${JSON.stringify(error.response && error.response.data)}\n`);
  process.exit(1);
});
