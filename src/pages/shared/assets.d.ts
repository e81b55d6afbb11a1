/** Styles that a page imports: the bundler gathers them in one file. */
declare module '*.css';
