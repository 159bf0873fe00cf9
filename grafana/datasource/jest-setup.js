// The scaffold's, and what jsdom lacks: @grafana/ui 13 with React 19 loads react-dom/server, which wants a MessageChannel.
// (worker_threads' would keep Jest from ever ending.)
import './.config/jest-setup';

globalThis.MessageChannel ??= class {
  constructor() {
    const port = (other) => ({
      onmessage: null,
      close() {},
      postMessage: (data) => setTimeout(() => this[other].onmessage?.({ data }), 0),
    });
    this.port1 = port('port2');
    this.port2 = port('port1');
  }
};

// widths of texts, which jsdom has no canvas for
HTMLCanvasElement.prototype.getContext = () => ({ measureText: (text) => ({ width: 8 * text.length }) });
