// Every kind of page, as a visitor comes to it.
import { file, site } from './support.mjs';
import { gif } from './pictures.mjs';

const byForm = {
  'refused thread': async (page) => {
    await page.goto('/b/');
    await page.locator('summary').click();
    await page.getByLabel('Subject').fill('A subject that is kept');
    await page.getByLabel('Comment').fill('Five pictures are one too many.');
    await page.getByLabel('Spoiler', { exact: true }).check();
    await page.getByLabel('Pictures', { exact: true }).setInputFiles([1, 2, 3, 4, 5].map((side) => file(`${side}.gif`, 'image/gif', gif(side))));
    await page.getByRole('button', { name: 'Post' }).click();
  },
  'refused reply': async (page) => {
    await page.goto(`/art/res/${site.thread}.html`);
    await page.getByRole('button', { name: 'Post' }).click();
  },
  'refused post on a board that does not exist': async (page) => {
    await page.goto('/b/');
    await page.locator('summary').click();
    await page.getByLabel('Name').fill('Walker');
    await page.getByLabel('Comment').fill('The board went away while this was written.');
    await page.getByLabel('Pictures', { exact: true }).setInputFiles(file('1.gif', 'image/gif', gif(1)));
    await page.locator('form#post').evaluate((form) => form.setAttribute('action', '/gone/post'));
    await page.getByRole('button', { name: 'Post' }).click();
  },
  'refused deletion': async (page) => {
    await page.goto(`/art/res/${site.thread}.html`);
    await page.getByLabel(`Select post ${site.thread} for deletion`).check();
    await page.locator('#delete').getByRole('button').click();
  },
};

// Names of pages, and how a page of the browser gets there.
export const pages = Object.entries({
  ...Object.fromEntries(Object.entries(site.pages ?? {}).map(([name, path]) => [name, (page) => page.goto(path)])),
  ...byForm,
});

// These answer 4xx, which a console reports as an error of the page itself.
export const isRefusal = (name) => name.startsWith('refused') || name.includes('does not exist');
