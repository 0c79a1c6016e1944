// Search: pages that explain come before pages that list, and other words for a page (index entries) count most
const GUIDES = /^(tutorials|howtos|about|index)/, LISTS = /^(changelog|contributing|licence|cite|api|experiments)/;
var Scorer = {
  score: ([name, title, anchor, description, score]) =>
    score + (GUIDES.test(name) ? 12 : 0) - (LISTS.test(name) ? 12 : 0),
  objNameMatch: 11, objPartialMatch: 6, objPrio: {0: 15, 1: 5, 2: -5}, objPrioDefault: 0,
  title: 15, partialTitle: 7, term: 5, partialTerm: 2,
};
