// Paintings for a canvas in a page: `paint(context, motif, seed)` fills the whole canvas.
//
// They stand in for what people post (photographs, drawings, posters), so that the screenshot looks like a
// board and not like a test, and so that no picture of anybody else has to be kept here.
(() => {
  const TAU = Math.PI * 2;

  // Numbers from 0 to 1, always the same for the same seed (mulberry32).
  const numbers = (seed) => () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };

  const mix = (from, to, share) => from + (to - from) * share;
  const clamp = (value) => Math.min(1, Math.max(0, value));
  const smooth = (from, to, value) => {
    const share = clamp((value - from) / (to - from));
    return share * share * (3 - 2 * share);
  };
  const mixed = (a, b, share) => a.map((channel, index) => mix(channel, b[index], share));
  const css = (colour, alpha = 1) => `rgb(${colour.map((channel) => Math.round(channel)).join(' ')} / ${alpha})`;

  // A colour along a list of colours, all equally far apart.
  const along = (colours, share) => {
    const place = clamp(share) * (colours.length - 1);
    const index = Math.min(colours.length - 2, Math.floor(place));
    return mixed(colours[index], colours[index + 1], place - index);
  };

  // Soft noise from 0 to 1 (value noise on a lattice), and the same in octaves.
  const noise = (seed) => {
    const random = numbers(seed);
    const lattice = Float32Array.from({ length: 65536 }, random);
    const at = (x, y) => lattice[((y & 255) << 8) | (x & 255)];
    const soft = (x, y) => {
      const [left, top] = [Math.floor(x), Math.floor(y)];
      const [across, down] = [x - left, y - top];
      const [u, v] = [across * across * (3 - 2 * across), down * down * (3 - 2 * down)];
      return mix(mix(at(left, top), at(left + 1, top), u), mix(at(left, top + 1), at(left + 1, top + 1), u), v);
    };
    return (x, y, octaves = 5) => {
      let [sum, weight, total] = [0, 1, 0];
      for (let octave = 0; octave < octaves; octave++) {
        sum += soft(x, y) * weight;
        total += weight;
        [x, y, weight] = [x * 2.03 + 17, y * 2.03 + 31, weight * 0.5];
      }
      return sum / total;
    };
  };

  // Asks for the colour of every point; x runs from 0 to the shape of the picture, y from 0 to 1.
  const each = (context, colourAt) => {
    const { width, height } = context.canvas;
    const image = context.createImageData(width, height);
    for (let y = 0, place = 0; y < height; y++) {
      for (let x = 0; x < width; x++, place += 4) {
        const [red, green, blue] = colourAt(x / height, y / height);
        image.data[place] = red;
        image.data[place + 1] = green;
        image.data[place + 2] = blue;
        image.data[place + 3] = 255;
      }
    }
    context.putImageData(image, 0, 0);
  };

  const sky = (context, colours) => {
    const { width, height } = context.canvas;
    const gradient = context.createLinearGradient(0, 0, 0, height);
    colours.forEach((colour, index) => gradient.addColorStop(index / (colours.length - 1), css(colour)));
    context.fillStyle = gradient;
    context.fillRect(0, 0, width, height);
  };

  const glow = (context, x, y, radius, colour, strength = 1) => {
    const gradient = context.createRadialGradient(x, y, 0, x, y, radius);
    for (let step = 0; step <= 10; step++) {
      gradient.addColorStop(step / 10, css(colour, strength * (1 - step / 10) ** 2.2));
    }
    context.fillStyle = gradient;
    context.fillRect(0, 0, context.canvas.width, context.canvas.height);
  };

  const disc = (context, x, y, radius, colour) => {
    context.fillStyle = colour;
    context.beginPath();
    context.arc(x, y, radius, 0, TAU);
    context.fill();
  };

  // The grain of a sensor, over everything.
  const grain = (context, seed, strength) => {
    const { width, height } = context.canvas;
    const image = context.getImageData(0, 0, width, height);
    const random = numbers(seed + 99);
    for (let place = 0; place < image.data.length; place += 4) {
      const speck = (random() + random() - 1) * strength;
      for (let channel = 0; channel < 3; channel++) image.data[place + channel] += speck;
    }
    context.putImageData(image, 0, 0);
  };

  const motifs = {
    // Ridges in the morning haze, a sun above them.
    ridges(context, seed) {
      const { width, height } = context.canvas;
      const palettes = [
        [[52, 66, 122], [222, 142, 118], [252, 205, 150], [30, 30, 62]],
        [[120, 170, 200], [205, 222, 222], [250, 238, 214], [22, 58, 66]],
        [[84, 50, 98], [205, 96, 104], [250, 178, 118], [38, 18, 46]],
      ];
      const [top, middle, low, near] = palettes[seed % palettes.length];
      sky(context, [top, middle, low, low]);
      const random = numbers(seed);
      const [sunX, sunY] = [width * mix(0.3, 0.7, random()), height * mix(0.34, 0.44, random())];
      glow(context, sunX, sunY, height * 0.7, [255, 236, 200], 0.9);
      disc(context, sunX, sunY, height * 0.055, css([255, 248, 226]));
      const field = noise(seed);
      for (let ridge = 0; ridge < 6; ridge++) {
        const depth = ridge / 5;
        const base = mix(0.46, 0.92, depth ** 1.15);
        const line = (x) =>
          height * (base - (field(x * mix(5, 2, depth) / width * 2 + ridge * 40, ridge * 9, 6) - 0.42) * mix(0.28, 0.42, depth));
        const gradient = context.createLinearGradient(0, height * (base - 0.2), 0, height * (base + 0.25));
        const colour = mixed(mixed(low, middle, 0.4), near, mix(0.22, 1, depth));
        gradient.addColorStop(0, css(colour));
        gradient.addColorStop(1, css(mixed(colour, low, mix(0.5, 0.05, depth))));
        context.fillStyle = gradient;
        context.beginPath();
        context.moveTo(0, height);
        for (let x = 0; x <= width; x += 1) context.lineTo(x, line(x));
        context.lineTo(width, height);
        context.fill();
      }
      grain(context, seed, 14);
    },

    // The Milky Way over dark trees.
    stars(context, seed) {
      const { width, height } = context.canvas;
      const [field, dust, random] = [noise(seed), noise(seed + 5), numbers(seed)];
      const [slope, offset] = [mix(-0.9, -0.5, random()), mix(0.85, 1.1, random())];
      each(context, (x, y) => {
        const from = (y - (offset + slope * x)) / Math.hypot(1, slope);
        const band = Math.exp(-((from * 3.6 + (field(x * 2, y * 2) - 0.5) * 1.2) ** 2));
        const lane = smooth(0.42, 0.62, dust(x * 4.2 + 9, y * 4.2)) * Math.exp(-((from * 7) ** 2));
        const light = band * mix(0.35, 1, field(x * 5, y * 5, 6)) * (1 - lane * 0.85);
        const night = mixed([7, 10, 26], [38, 46, 84], smooth(0.3, 1.05, y));
        const glow = along([[70, 62, 120], [176, 128, 160], [246, 214, 190]], light * 1.15);
        return mixed(night, glow, clamp(light * 0.95));
      });
      for (let star = 0; star < (width * height) / 520; star++) {
        const [x, y, size] = [random() * width, random() * height, random() ** 9];
        disc(context, x, y, height * mix(0.0007, 0.0034, size), css(along([[255, 214, 180], [255, 255, 255], [190, 212, 255]], random()), mix(0.25, 1, random() ** 2)));
      }
      context.fillStyle = '#05070d';
      for (let tree = 0; tree < 46; tree++) {
        const [x, tall] = [random() * width, height * mix(0.06, 0.24, random() ** 2)];
        const ground = height * (0.985 - 0.03 * Math.sin((x / width) * 5 + seed));
        context.fillRect(x - tall * 0.02, ground - tall, tall * 0.04, tall + height);
        for (let bough = 0; bough < 9; bough++) {
          const reach = tall * mix(0.04, 0.26, bough / 8) * mix(0.8, 1.2, random());
          const y = ground - tall * (1 - bough / 9);
          context.beginPath();
          context.moveTo(x, y - tall * 0.09);
          context.lineTo(x + reach, y + tall * 0.06);
          context.lineTo(x - reach, y + tall * 0.06);
          context.fill();
        }
      }
      context.fillRect(0, height * 0.975, width, height);
    },

    // Marble: veins where a bent field turns around.
    marble(context, seed) {
      const [bend, field] = [noise(seed), noise(seed + 3)];
      const palettes = [
        [[18, 62, 64], [44, 104, 100], [232, 226, 206]],
        [[240, 238, 234], [206, 204, 202], [66, 68, 76]],
        [[74, 22, 30], [150, 62, 58], [244, 222, 204]],
      ];
      const [ground, cloud, vein] = palettes[seed % palettes.length];
      each(context, (x, y) => {
        const [u, v] = [bend(x * 2.1, y * 2.1, 6), bend(x * 2.1 + 50, y * 2.1 + 20, 6)];
        const value = field(x * 1.6 + u * 3.1, y * 1.6 + v * 3.1, 6);
        const turn = 1 - Math.abs(value * 2 - 1);
        const thin = smooth(0.9, 0.995, turn) + 0.45 * smooth(0.7, 0.98, 1 - Math.abs(field(x * 5 + v * 4, y * 5 + u * 4) * 2 - 1));
        const speck = (field(x * 60, y * 60, 2) - 0.5) * 10;
        return mixed(mixed(ground, cloud, smooth(0.25, 0.75, u)), vein, clamp(thin)).map((channel) => channel + speck);
      });
    },

    // A concert poster of circles and bars.
    poster(context, seed) {
      const { width, height } = context.canvas;
      const random = numbers(seed);
      const palettes = [
        ['#efe6d2', '#d9472b', '#1d2a44', '#e7a72e'],
        ['#f2ece2', '#156064', '#f26b4e', '#1b1b1e'],
        ['#1c2033', '#f0c24b', '#e8573f', '#efe8da'],
      ];
      const [paper, first, second, third] = palettes[seed % palettes.length];
      context.fillStyle = paper;
      context.fillRect(0, 0, width, height);
      const cell = width / 4;
      const rows = Math.ceil((height * 0.76) / cell);
      for (let row = 0; row < rows; row++) {
        for (let column = 0; column < 4; column++) {
          const [x, y] = [column * cell, row * cell];
          const inks = [first, second, third].sort(() => random() - 0.5);
          context.save();
          context.beginPath();
          context.rect(x, y, cell + 0.5, cell + 0.5);
          context.clip();
          context.fillStyle = random() < 0.45 ? paper : inks[2];
          context.fillRect(x, y, cell + 1, cell + 1);
          context.translate(x + cell / 2, y + cell / 2);
          context.rotate((Math.floor(random() * 4) * TAU) / 4);
          const kind = Math.floor(random() * 4);
          if (kind === 0) for (let ring = 4; ring > 0; ring--) disc(context, -cell / 2, -cell / 2, (cell * ring) / 4, ring % 2 ? inks[1] : inks[0]);
          if (kind === 1) disc(context, 0, 0, cell * 0.36, inks[0]);
          if (kind === 2) { disc(context, -cell / 2, 0, cell / 2, inks[0]); disc(context, cell / 2, 0, cell / 2, inks[1]); }
          if (kind === 3) { context.fillStyle = inks[0]; for (let bar = 0; bar < 4; bar++) context.fillRect(-cell / 2 + (bar * cell) / 4, -cell / 2, cell / 8, cell); }
          context.restore();
        }
      }
      context.fillStyle = paper;
      context.fillRect(0, rows * cell, width, height);
      context.fillStyle = second === paper ? first : palettes[seed % palettes.length][seed % 3 === 2 ? 3 : 2];
      context.textBaseline = 'alphabetic';
      context.font = `800 ${width * 0.108}px "Noto Sans CJK KR", sans-serif`;
      context.fillText('NACHTMUSIK', width * 0.05, height - width * 0.13, width * 0.9);
      context.font = `500 ${width * 0.04}px "Noto Sans CJK KR", sans-serif`;
      context.fillText('12 · 12  string quartet, old tram depot', width * 0.052, height - width * 0.06, width * 0.9);
      grain(context, seed, 9);
    },

    // A city at dusk, with lit windows.
    city(context, seed) {
      const { width, height } = context.canvas;
      const random = numbers(seed);
      sky(context, [[28, 34, 74], [92, 70, 122], [222, 120, 110], [252, 190, 130]]);
      glow(context, width * 0.68, height * 0.82, height * 0.9, [255, 190, 120], 0.8);
      for (let layer = 0; layer < 4; layer++) {
        const depth = layer / 3;
        const colour = mixed([158, 100, 122], [20, 20, 40], 0.2 + depth * 0.8);
        for (let x = -width * 0.02; x < width; ) {
          const wide = width * mix(0.025, 0.075, random()) * mix(0.7, 1.25, depth);
          const tall = height * mix(0.18, 0.62, random() ** 1.6) * mix(1, 0.82, depth);
          const top = height * mix(0.86, 1.02, depth) - tall;
          context.fillStyle = css(colour);
          context.fillRect(x, top, wide + 1, height);
          if (random() < 0.25) context.fillRect(x + wide * 0.46, top - height * 0.06, Math.max(1, wide * 0.05), height * 0.06);
          const size = height * mix(0.006, 0.013, depth);
          for (let y = top + size * 1.5; layer > 0 && y < height; y += size * 2.1) {
            for (let across = x + size; across < x + wide - size * 1.4; across += size * 1.9) {
              if (random() < 0.34) {
                context.fillStyle = css(along([[255, 226, 160], [255, 186, 104], [200, 220, 255]], random() ** 2), mix(0.25, 0.95, random()) * mix(0.5, 1, depth));
                context.fillRect(across, y, size, size * 1.2);
              }
            }
          }
          x += wide + width * (random() < 0.2 ? 0.012 : 0);
        }
      }
      grain(context, seed, 12);
    },

    // The sea under a low moon.
    sea(context, seed) {
      const field = noise(seed);
      const shape = context.canvas.width / context.canvas.height;
      const [moonX, moonY, horizon] = [shape * 0.62, 0.2, 0.44];
      each(context, (x, y) => {
        if (y < horizon) {
          const far = Math.hypot(x - moonX, y - moonY);
          const air = mixed([20, 38, 66], [124, 150, 168], smooth(0, horizon, y) * 0.85);
          const cloud = smooth(0.48, 0.78, field(x * 2.2, y * 9 + 3, 6));
          const lit = mixed(mixed(air, [188, 196, 200], cloud * 0.5), [255, 246, 222], Math.exp(-far * 7) * 0.8);
          return far < 0.052 ? [255, 250, 236] : lit;
        }
        const near = (y - horizon) / (1 - horizon);
        const scale = 1 / (near + 0.035);
        const wave = field(x * scale * 0.9 + 40, scale * 7 + near * 3, 5);
        const glint = Math.exp(-(((x - moonX) / (0.06 + near * 0.34)) ** 2)) * smooth(0.5, 0.66, wave);
        const water = mixed([96, 126, 142], [10, 30, 46], smooth(0, 0.75, near) + (0.5 - wave) * 0.5);
        return mixed(water.map((channel) => channel + (wave - 0.5) * 54), [255, 240, 206], glint * 0.9);
      });
      grain(context, seed, 10);
    },

    // Pines in fog, one row behind the other.
    forest(context, seed) {
      const { width, height } = context.canvas;
      const random = numbers(seed);
      sky(context, [[206, 218, 216], [232, 234, 222], [190, 204, 196]]);
      for (let row = 0; row < 5; row++) {
        const depth = row / 4;
        context.fillStyle = css(mixed([176, 196, 188], [22, 46, 40], depth));
        for (let tree = 0; tree < mix(60, 13, depth); tree++) {
          const tall = height * mix(0.22, 0.8, depth) * mix(0.75, 1.15, random());
          const [x, ground] = [random() * width, height * mix(0.66, 1.08, depth)];
          context.fillRect(x - tall * 0.009, ground - tall * 0.96, tall * 0.018, tall);
          for (let bough = 0; bough < 24; bough++) {
            const share = bough / 23;
            const reach = tall * mix(0.012, 0.17, share) * mix(0.65, 1.1, random());
            const y = ground - tall * mix(0.99, 0.1, share);
            context.beginPath();
            context.moveTo(x, y - tall * 0.034);
            context.quadraticCurveTo(x + reach * 0.5, y, x + reach, y + tall * 0.032);
            context.lineTo(x, y + tall * 0.014);
            context.lineTo(x - reach * mix(0.8, 1.15, random()), y + tall * 0.032);
            context.fill();
          }
        }
        const fog = context.createLinearGradient(0, height * mix(0.4, 0.75, depth), 0, height);
        fog.addColorStop(0, 'rgb(226 232 224 / 0)');
        fog.addColorStop(1, `rgb(226 232 224 / ${mix(0.75, 0.1, depth)})`);
        context.fillStyle = fog;
        context.fillRect(0, 0, width, height);
      }
      grain(context, seed, 12);
    },

    // Dunes with sharp crests and wind ripples.
    dunes(context, seed) {
      const field = noise(seed);
      each(context, (x, y) => {
        let colour = along([[86, 142, 190], [170, 200, 212], [244, 222, 186]], y / 0.5);
        for (let dune = 0; dune < 5; dune++) {
          const crest = 0.36 + dune * 0.13 + (field(x * mix(1.5, 0.8, dune / 4) + dune * 30, dune * 7, 3) - 0.5) * 0.34;
          if (y < crest) continue;
          const below = (y - crest) / 0.3;
          const light = smooth(0.3, 0.62, field(x * 1.4 + dune * 11 + below * 0.7, below * 0.8, 3));
          const ripple = Math.sin((y * 1.9 + x * 0.5 + field(x * 5, y * 5, 3) * 0.22) * mix(120, 230, 1 - dune / 4)) * 7 * light;
          colour = mixed([112, 62, 44], [240, 188, 124], light * mix(1, 0.72, clamp(below))).map((channel) => channel + ripple);
        }
        return colour;
      });
      grain(context, seed, 9);
    },

    // A piece of a Julia set.
    julia(context, seed) {
      const [real, imaginary] = [[-0.7269, 0.1889], [-0.8, 0.156], [0.285, 0.01]][seed % 3];
      const shape = context.canvas.width / context.canvas.height;
      const colours = [[12, 10, 38], [40, 40, 120], [60, 130, 190], [246, 226, 160], [230, 120, 50], [110, 24, 50], [12, 10, 38]];
      each(context, (x, y) => {
        let [a, b] = [(x - shape / 2) * 1.7, (y - 0.5) * 1.7];
        let step = 0;
        for (; step < 220 && a * a + b * b < 64; step++) [a, b] = [a * a - b * b + real, 2 * a * b + imaginary];
        if (step === 220) return [10, 8, 30];
        const even = step + 1 - Math.log2(Math.log2(a * a + b * b) / 2);
        return along(colours, (Math.sqrt(even) * 0.21) % 1);
      });
    },

    // A cut agate: rings around an uneven middle.
    agate(context, seed) {
      const [bend, field] = [noise(seed), noise(seed + 8)];
      const shape = context.canvas.width / context.canvas.height;
      const colours = [[250, 240, 226], [214, 132, 84], [120, 44, 44], [236, 196, 160], [88, 60, 84], [176, 196, 214], [58, 84, 122], [240, 236, 232]];
      each(context, (x, y) => {
        const far = Math.hypot((x - shape * 0.52) * 0.9, y - 0.52) + (bend(x * 2.4, y * 2.4, 4) - 0.5) * 0.5;
        const ring = field(far * 24, 3, 3);
        const fine = Math.sin(far * 210 + bend(x * 6, y * 6, 2) * 3) * 6;
        const colour = far < 0.1 ? mixed([236, 240, 246], [150, 160, 190], field(x * 30, y * 30, 3)) : along(colours, smooth(0.2, 0.82, ring));
        return mixed(colour, [60, 46, 40], smooth(0.56, 0.66, far)).map((channel) => channel + fine);
      });
    },

    // A cat on a window sill, looking out.
    cat(context, seed) {
      const { width, height } = context.canvas;
      const unit = Math.min(width, height);
      sky(context, [[242, 196, 150], [248, 222, 184], [196, 206, 190]]);
      glow(context, width * 0.7, height * 0.3, unit * 0.9, [255, 246, 214], 0.95);
      const random = numbers(seed);
      for (let leaf = 0; leaf < 240; leaf++) {
        const [x, y] = [random() * width, height * mix(0.5, 0.8, random())];
        disc(context, x, y, unit * mix(0.02, 0.07, random()), css(mixed([126, 150, 96], [214, 190, 120], random()), 0.22));
      }
      context.fillStyle = '#6d4630';
      context.fillRect(0, height * 0.8, width, height * 0.2);
      context.fillStyle = '#8a5c40';
      context.fillRect(0, height * 0.8, width, height * 0.025);
      context.fillRect(width * 0.49, 0, width * 0.022, height * 0.8);
      context.fillStyle = '#5a3a28';
      context.fillRect(width * 0.508, 0, width * 0.006, height * 0.8);
      context.save();
      context.translate(width * 0.3, height * 0.81);
      context.scale(unit / 100, unit / 100);
      context.fillStyle = '#241c1c';
      context.beginPath();
      context.moveTo(-15, 0);
      context.bezierCurveTo(-19, -18, -13, -30, -6, -36);
      context.bezierCurveTo(-10, -42, -10, -48, -8.5, -55);
      context.lineTo(-3, -50.5);
      context.quadraticCurveTo(1, -52, 5, -50.5);
      context.lineTo(10.5, -55);
      context.bezierCurveTo(12, -48, 12, -42, 8, -36);
      context.bezierCurveTo(15, -30, 20, -18, 17, 0);
      context.closePath();
      context.fill();
      context.strokeStyle = '#241c1c';
      context.lineWidth = 4.6;
      context.lineCap = 'round';
      context.beginPath();
      context.moveTo(13, -3);
      context.bezierCurveTo(30, 2, 34, 10, 28, 15);
      context.stroke();
      context.strokeStyle = 'rgb(255 226 170 / .75)';
      context.lineWidth = 0.9;
      context.beginPath();
      context.moveTo(10.2, -53);
      context.bezierCurveTo(11.6, -47, 11.4, -42, 8, -36);
      context.bezierCurveTo(14.6, -30, 19.4, -18, 16.6, -1);
      context.stroke();
      context.restore();
      grain(context, seed, 12);
    },
  };

  globalThis.paint = (context, motif, seed) => motifs[motif](context, seed);
})();
