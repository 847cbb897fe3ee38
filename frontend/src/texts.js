// What the scripts say, in the reader's language: a page that is not in English brings the texts with it.

const forms = JSON.parse(document.querySelector('meta[name=texts]')?.content ?? '{}');
const rules = new Intl.PluralRules(document.documentElement.lang || 'en');
const categories = ['zero', 'one', 'two', 'few', 'many', 'other'].filter((each) => rules.resolvedOptions().pluralCategories.includes(each));
const numbers = new Intl.NumberFormat(document.documentElement.lang || 'en');

const filled = (text, values) => text.replaceAll(/%\((\w+)\)s|%%/g, (place, name) => (name ? values[name] : '%'));

// A text with values in its places, as in the templates: _('Moved to position %(position)s', { position }).
export const _ = (text, values = {}) => filled(forms[text]?.[0] ?? text, values);

// In the form that a count takes; %(count)s is the number as the reader writes it.
export const _n = (one, other, count, values = {}) => {
  const all = forms[one] ?? [one, other];
  const form = all.length > 1 ? Math.min(categories.indexOf(rules.select(count)), all.length - 1) : 0;
  return filled(all[form], { count: numbers.format(count), ...values });
};
