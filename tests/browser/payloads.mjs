// What somebody who means ill would type. Each sets `window.__pwned` or opens a dialogue, should it ever run.
export const PAYLOADS = [
  `<script>window.__pwned=1;alert(1)</script>`,
  `"><img src=x onerror="window.__pwned=2;alert(2)">`,
  `'><svg/onload=window.__pwned=3>`,
  `</title></textarea></style></script><script>window.__pwned=4</script>`,
  `javascript:window.__pwned=5//http://x.example/"onmouseover="window.__pwned=5"`,
  `<style>@import'http://127.0.0.1:1/x';*{color:red}</style><a href="javascript:alert(6)">x</a>`,
  `{{7*7}}\${window.__pwned=7}<!--`,
];
