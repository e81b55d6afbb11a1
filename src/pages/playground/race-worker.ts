/** The race's worker. */
import type { News, Order } from './race/messages.js';
import { Racing } from './race/racing.js';

const racing = new Racing((news: News) => {
  if (news.kind === 'saved') postMessage(news, { transfer: [news.zip.buffer] });
  else postMessage(news);
});

self.onmessage = ({ data }: MessageEvent<Order>) => racing.take(data);
