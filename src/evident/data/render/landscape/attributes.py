"""What a landscape is made of, and which of SIAM's attributes each material bears (Marcos et al., 2019).

Of the 33 attributes of SUN that the paper uses, those that a landscape painter can show. A pixel of a barn's wall
bears one attribute, a pixel of a snow field two; the sky and bare soil bear none.
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
# horizon: no material, but the strip where open land or sea meets the sky
BEARS = np.array([[attribute in borne for attribute in ATTRIBUTES] for borne in MATERIALS.values()])  # (materials, K)


def bearers(attribute: str | None) -> frozenset[str]:
    """The materials that bear an attribute."""
    return frozenset(name for name, borne in MATERIALS.items() if attribute in borne)
