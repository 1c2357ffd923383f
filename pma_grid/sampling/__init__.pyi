from . import quality as quality
