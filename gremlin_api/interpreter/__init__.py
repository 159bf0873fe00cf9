"""What a traversal gives on a graph: TinkerPop's steps, one traverser at a time."""
