/** Styles that a page imports; the bundler collects them in one file. */
declare module '*.css';
/** Addresses of texts beside the page. */
declare module '*.txt' {
  const url: string;
  export default url;
}
