// A component that is drawn again only when its properties differ.

import { Component, type ComponentChildren, type FunctionComponent } from "preact";

export function memo<P>(draw: (props: P) => ComponentChildren, isSame: (one: P, other: P) => boolean): FunctionComponent<P> {
  class Memo extends Component<P> {
    override shouldComponentUpdate(next: P) {
      return !isSame(this.props, next);
    }
    override render() {
      return draw(this.props);
    }
  }
  return Memo as unknown as FunctionComponent<P>;
}
