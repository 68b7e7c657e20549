// Names that end in `.localhost` are this machine, as browsers have it. Node asks the C library, which often does not
// know that, so whoever imports this file teaches Node.
import dns from 'node:dns';

const { lookup } = dns;
dns.lookup = (name, ...rest) => lookup(/\.localhost\.?$/i.test(name) ? '127.0.0.1' : name, ...rest);
