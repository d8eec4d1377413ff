"""The While1 Voice API at `/api/…`: their words for the use-cases of the native API; a thin translation, and no second engine."""
