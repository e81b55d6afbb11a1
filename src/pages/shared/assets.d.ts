/** Styles that a page imports: the bundler gathers them in one file. */
declare module '*.css';
/** Addresses of texts that lie beside the page. */
declare module '*.txt' {
  const url: string;
  export default url;
}
