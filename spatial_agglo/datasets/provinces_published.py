"""What Yin & Su (2024) print of their data: moments, indicators, weights, groups of provinces."""

from __future__ import annotations

from typing import NamedTuple


class Moments(NamedTuple):
    """Mean, standard deviation (n - 1), minimum and maximum of a variable."""

    mean: float
    sd: float
    low: float
    high: float


#: Their table 3, of 589 observations.
MOMENTS = {
    "ami": Moments(32.96, 5.37, 14.48, 49.24),
    "amt": Moments(19.70, 8.57, 6.06, 48.98),
    "amm": Moments(41.68, 9.41, 17.28, 71.11),
    "amw": Moments(47.66, 9.82, 15.47, 83.76),
    "gam": Moments(68.69, 15.09, 15.44, 100.00),
    "ame": Moments(18.84, 5.66, 10.70, 90.95),
    "coagglo": Moments(3.99, 2.49, 1.02, 19.51),
    "pdgp": Moments(10.29, 0.80, 8.06, 12.01),
    "fdi": Moments(21.17, 3.81, 0.00, 24.89),
    "hcl": Moments(10.77, 1.54, 0.00, 12.61),
    "gov": Moments(21.88, 7.32, 0.00, 26.58),
    "inv": Moments(26.89, 2.80, 0.00, 29.49),
    "str": Moments(43.73, 9.49, 28.60, 83.90),
    "inf": Moments(24.69, 1.25, 20.42, 28.36),
    "uic": Moments(0.48, 0.95, 0.00, 7.07),
    "mi": Moments(97.28, 182.18, 0.13, 1091.58),
    "icc": Moments(0.13, 0.76, 0.00, 10.63),
}


class Indicator(NamedTuple):
    """An indicator of table 2, and the range it is given here (the paper prints none)."""

    column: str
    label: str
    dimension: str
    direction: str
    overall: float
    individual: float
    low: float
    high: float


#: Their table 2: attributes, overall and individual weights.
INDICATORS = (
    Indicator("new_products", "New products in industrial output (%)", "amt", "+",
              0.075, 0.231, 0.1, 45.0),
    Indicator("research_firms", "Enterprises with research institutions (%)", "amt", "+",
              0.086, 0.278, 0.5, 60.0),
    Indicator("rd_spending", "R&D expenditure in main business revenue (%)", "amt", "+",
              0.105, 0.359, 0.05, 4.5),
    Indicator("own_funding", "Research funded by enterprises themselves (%)", "amt", "+",
              0.033, 0.132, 20.0, 99.0),
    Indicator("inventory_turnover", "Inventory turnover (times)", "amm", "+",
              0.044, 0.238, 2.0, 24.0),
    Indicator("cost_profit", "Profit on costs and expenses (%)", "amm", "+",
              0.034, 0.196, -4.0, 22.0),
    Indicator("equity_ratio", "Equity ratio (%)", "amm", "+",
              0.028, 0.193, 40.0, 260.0),
    Indicator("debt_ratio", "Debt-to-asset ratio (%)", "amm", "-",
              0.038, 0.227, 30.0, 78.0),
    Indicator("asset_return", "Contribution of total assets (%)", "amm", "+",
              0.025, 0.146, 1.0, 32.0),
    Indicator("log_employment", "Manufacturing employment (log of persons)", "amw", "+",
              0.092, 0.360, 8.5, 16.5),
    Indicator("log_salary", "Average salary in industry (log of yuan)", "amw", "+",
              0.090, 0.344, 9.0, 12.3),
    Indicator("rd_degrees", "Higher degrees among research staff (%)", "amw", "+",
              0.033, 0.125, 5.0, 70.0),
    Indicator("rd_staff", "R&D staff in the workforce (%)", "amw", "+",
              0.046, 0.171, 0.1, 9.0),
    Indicator("wastewater", "Industrial wastewater up to standard (%)", "gam", "+",
              0.020, 0.149, 20.0, 100.0),
    Indicator("sulphur", "Industrial SO2 up to standard (%)", "gam", "+",
              0.021, 0.164, 10.0, 100.0),
    Indicator("particulates", "Industrial particulates up to standard (%)", "gam", "+",
              0.031, 0.303, 5.0, 100.0),
    Indicator("solid_waste", "Industrial solid waste used (%)", "gam", "+",
              0.037, 0.384, 1.0, 100.0),
    Indicator("capital_growth", "Preservation and growth of capital (%)", "ame", "+",
              0.031, 0.206, 70.0, 260.0),
    Indicator("value_added_rate", "Industrial value-added rate (%)", "ame", "+",
              0.069, 0.408, 18.0, 75.0),
    Indicator("operating_profit", "Operating profit (%)", "ame", "+",
              0.021, 0.107, -3.0, 30.0),
    Indicator("log_profit", "Profit from main business (log of yuan)", "ame", "+",
              0.042, 0.280, 16.0, 28.0),
)  # fmt: skip

#: Names of the dimensions of table 2.
DIMENSIONS = {
    "amt": "Advanced technology",
    "amm": "Advanced manufacturing management",
    "amw": "Advanced manufacturing workforce",
    "gam": "Green manufacturing",
    "ame": "Advanced manufacturing efficiency",
}

#: Provinces with national advanced manufacturing clusters, in their note 3.
CLUSTERS = (
    "Beijing", "Tianjin", "Hebei", "Inner Mongolia", "Liaoning", "Jilin", "Shanghai", "Jiangsu",
    "Zhejiang", "Anhui", "Fujian", "Shandong", "Hubei", "Hunan", "Guangdong", "Chongqing",
    "Sichuan", "Shaanxi",
)  # fmt: skip
