"""goAPI of GOautodial: one front controller per module; thin translations over the same use-cases as the native API."""
