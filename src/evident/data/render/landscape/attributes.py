"""Materials of a landscape, and the attributes of SIAM that each of them has (Marcos et al., 2019).

Of the paper's 33 attributes of SUN, ATTRIBUTES are those that can be rendered. A pixel of a barn's wall has one
attribute, a pixel of a snow field two; the sky and bare soil have none.
"""

import numpy as np

MATERIALS: dict[str, tuple[str, ...]] = {
    "sky": (),
    "soil": (),
    "cloud": ("clouds",),
    "slope": ("rugged_scene",),
    "rock": ("rugged_scene", "rock_stone"),
    "snow": ("rugged_scene", "ice_snow"),
    "boulder": ("rock_stone",),
    "grass": ("grass",),
    "dry_grass": ("dry",),
    "sand": ("sand",),
    "flower": ("flowers",),
    "tree": ("trees",),
    "field": ("farming",),
    "sea": ("ocean",),
    "lake": ("still_water",),
    "stream": ("running_water",),
    "road": ("road",),
    "ballast": ("railroad",),
    "rail": ("railroad", "metal"),
    "pylon": ("metal",),
    "pole": ("wood",),
    "wire": ("wire",),
    "wooden_fence": ("fencing_railing", "wood"),
    "railing": ("fencing_railing", "metal"),
    "brick": ("brick",),
    "tiles": ("shingles",),
    "planks": ("wood",),
    "pane": ("glass",),
    "temple": ("temple",),
    "vehicle": ("transport",),
    "vehicle_pane": ("transport", "glass"),
    "hull": ("transport",),
    "sail": ("transport", "cloth"),
    "tent": ("cloth",),
    "hiker": ("hiking",),
    "scrap": ("cluttered_space", "metal"),
    "rust": ("cluttered_space", "rusty"),
    "junk": ("cluttered_space",),
}
IDS = {name: number for number, name in enumerate(MATERIALS)}

ATTRIBUTES = (
    *("trees", "grass", "flowers", "ocean", "running_water", "still_water", "road", "railroad", "fencing_railing"),
    *("wire", "transport", "wood", "ice_snow", "brick", "shingles", "metal", "cloth", "sand", "rock_stone", "glass"),
    *("rusty", "dry", "rugged_scene", "cluttered_space", "clouds", "horizon", "temple", "farming", "hiking"),
)  # in the paper's order
# (materials, K). The horizon has no material: it is the strip where open land or sea meets the sky.
HAS_ATTRIBUTE = np.array([[attribute in own for attribute in ATTRIBUTES] for own in MATERIALS.values()])


def materials_of(attribute: str | None) -> frozenset[str]:
    """Return the materials that have `attribute`."""
    return frozenset(name for name, own in MATERIALS.items() if attribute in own)
