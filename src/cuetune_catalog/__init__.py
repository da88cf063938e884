"""Demo data sets, bundled models and what fetches them; cuetune finds them by entry points and never imports this."""
