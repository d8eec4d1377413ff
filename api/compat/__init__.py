"""Other systems' APIs: thin translations over the same use-cases; none has a rule, a store or an audit log of its own."""
