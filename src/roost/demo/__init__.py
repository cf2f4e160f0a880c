"""The demo: from labelled images to a promoted model, with every promise measured on the way."""
