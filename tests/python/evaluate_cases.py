"""Cases with their evaluations, computed by another hand: from docs/formats/case.md alone, with Python's fractions.

Usage: evaluate_cases.py COUNT
Prints one JSON object a line: {"case": ..., "expected": ...}, where expected holds what the page defines by number.
"""

import hashlib
import json
import random
import sys
from fractions import Fraction


def half_up(value, places):
    """The nearest multiple of 10^-places, a half going up."""
    scale = 10**places
    return Fraction((value * scale * 2 + 1) // 2, scale)


def amount(value):
    return f"{int(value * 100) // 100}.{int(value * 100) % 100:02d}"


def shown(value, decimals):
    """At least two places, more only where they are not nought."""
    text = f"{int(half_up(value, decimals) * 10_000):05d}"
    whole, places = text[:-4], text[-4:]
    while len(places) > 2 and places.endswith("0"):
        places = places[:-1]
    return f"{whole}.{places}"


def leaves(criteria, weight=None, path=()):
    for criterion in criteria:
        own = Fraction(criterion["weight"]) / 100 if "weight" in criterion else weight
        if "parts" in criterion:
            yield from leaves(criterion["parts"], own, path + (criterion["id"],))
        else:
            yield criterion, Fraction(1) if own is None else own, path + (criterion["id"],)


class Evaluation:
    def __init__(self, case):
        self.case = case
        self.bids = {bid["id"]: bid for bid in case["bids"]}
        self.scoring = case["method"] == "comprehensive_scoring"
        self.leaves = list(leaves(case.get("criteria", [])))
        self.rounding = case.get("rounding", {"at": "weighted_price_score", "decimals": 2})
        self.price, self.repairs, self.out = {}, {}, {}

    def repair(self, bid):
        sheet = bid["sheet"]
        price, kinds = Fraction(sheet["price"]), []
        if "elsewhere" in sheet and Fraction(sheet["elsewhere"]) != price:
            kinds.append("sheet_beats_elsewhere")
        if "words" in sheet and Fraction(sheet["words"]) != price:
            price = Fraction(sheet["words"])
            kinds.append("words_beat_figures")
        items = bid.get("items", [])
        if items:
            sums = [half_up(Fraction(i["quantity"]) * Fraction(i["unit_price"]), 2) for i in items]
            odd = [n for n, item in enumerate(items) if item.get("misplaced")]
            if odd:
                left = price - sum(value for n, value in enumerate(sums) if n not in odd)
                item = items[odd[0]]
                if half_up(left / Fraction(item["quantity"]), 2) != Fraction(item["unit_price"]):
                    kinds.append("misplaced_decimal")
            elif sum(sums) != price:
                price = sum(sums)
                kinds.append("unit_prices_beat_total")
        return price, kinds

    def reason(self, bid, price, repairs):
        case = self.case
        if not bid.get("qualification", {"passed": True})["passed"]:
            return "not_qualified"
        if not bid.get("responsiveness", {"passed": True})["passed"]:
            return "not_responsive"
        if repairs and bid.get("repair_confirmed") is False:
            return "repair_not_confirmed"
        if "ceiling" in case and price > Fraction(case["ceiling"]):
            return "above_ceiling"
        if "budget" in case and price > Fraction(case["budget"]):
            return "above_budget"
        if bid.get("explanation") == "rejected":
            return "price_not_explained"
        return None

    def compared(self, bid):
        price = left = self.price[bid["id"]]
        for deduction in self.case.get("deductions", []):
            kind = deduction["kind"]
            entitled = {
                "small_firm": bid.get("small_firm", False),
                "consortium": bid.get("consortium", False) and not bid.get("small_firm", False),
                "domestic_product": bid.get("domestic_product", False),
            }[kind]
            if entitled:
                base = price if deduction.get("base") == "bid" else left
                left = max(Fraction(0), left - base * Fraction(deduction["percent"]) / 100)
        return half_up(left, 2)

    def ticket(self, about, bid):
        text = f"kaibiao draw 1\n{self.case['draw_seed']}\n{about}\n{bid}\n"
        return hashlib.sha256(text.encode()).hexdigest()

    def tie_key(self, bid):
        key = []
        for rule in self.case.get("ties", []):
            if rule["by"] == "lower_price":
                key.append(self.price[bid])
            else:
                group = [l for l in self.leaves if rule["criterion"] in l[2] and l[0]["kind"] != "price"]
                key.append(-sum(self.sum(bid, leaf["id"]) * weight for leaf, weight, _ in group))
        return tuple(key)

    def sum(self, bid, criterion):
        return sum(Fraction(self.case["scores"][e][bid][criterion]) for e in self.case["experts"])

    def brand(self, bid):
        one = self.case.get("brands", {"count_as_one": True})["count_as_one"]
        return self.bids[bid].get("brand") if one else None

    def settle_brands(self, ids, key):
        """Who stands for a brand; who is second; who is tied."""
        standing, brands = {}, {}
        for bid in ids:
            if self.brand(bid) is not None:
                brands.setdefault(self.brand(bid), []).append(bid)
        for brand, group in brands.items():
            if len(group) < 2:
                continue
            best = min((key(bid), self.tie_key(bid)) for bid in group)
            first = [bid for bid in group if (key(bid), self.tie_key(bid)) == best]
            if len(first) > 1 and "draw_seed" in self.case:
                first = [min(first, key=lambda bid: self.ticket(f"brand {brand}", bid))]
            for bid in group:
                if bid not in first:
                    standing[bid] = "second_to_another"
                else:
                    standing[bid] = "stands" if len(first) == 1 else "tied"
        return standing

    def score(self, bid, lowest):
        at, places = self.rounding["at"], self.rounding["decimals"]
        total = Fraction(0)
        for leaf, weight, _ in self.leaves:
            if leaf["kind"] == "price":
                own = self.compared_prices[bid]
                value = Fraction(leaf["maximum"]) * (lowest / own)
                if at == "price_score":
                    value = half_up(value, places)
                value *= weight
                if at in ("weighted_price_score", "each_criterion"):
                    value = half_up(value, places)
                self.price_scores[bid] = value
            else:
                value = self.sum(bid, leaf["id"]) / len(self.case["experts"]) * weight
                if at == "each_criterion":
                    value = half_up(value, places)
            total += value
        return half_up(total, places) if at == "total" else total

    def ranks(self, ids, key):
        ordered = sorted(ids, key=key)
        return {bid: 1 + sum(key(other) < key(bid) for other in ordered) for bid in ordered}

    def candidates(self, ids, key):
        full = lambda bid: (key(bid), self.tie_key(bid))
        most = self.case.get("candidates_max", 3)
        places, place = [], 1
        while ids and place <= most:
            best = min(map(full, ids))
            group = [bid for bid in ids if full(bid) == best]
            ids = [bid for bid in ids if bid not in group]
            if len(group) > 1 and "draw_seed" in self.case:
                for nth, bid in enumerate(sorted(group, key=lambda bid: self.ticket("rank", bid))):
                    places.append({"place": place + nth, "bid": bid})
            else:
                places += [{"place": place, "bid": bid} for bid in group]
            place += len(group)
        return [candidate for candidate in places if candidate["place"] <= most]

    def run(self):
        for bid in self.case["bids"]:
            name = bid["id"]
            self.price[name], self.repairs[name] = self.repair(bid)
            self.out[name] = self.reason(bid, self.price[name], self.repairs[name])
        inside = [name for name in self.bids if self.out[name] is None]
        brands = [self.brand(bid) for bid in inside]
        left = len({brand for brand in brands if brand is not None}) + brands.count(None)
        ranks, standing, totals, candidates = {}, {}, {}, []
        self.compared_prices, self.price_scores = {}, {}
        failed = left < 3
        if not failed and not self.scoring:
            standing = self.settle_brands(inside, lambda bid: self.price[bid])
            for bid, how in standing.items():
                if how == "second_to_another":
                    self.out[bid] = "brand_evaluated_once"
            inside = [bid for bid in inside if self.out[bid] is None]
            self.compared_prices = {bid: self.compared(self.bids[bid]) for bid in inside}
            key = lambda bid: self.compared_prices[bid]
            ranks, candidates = self.ranks(inside, key), self.candidates(inside, key)
        elif not failed:
            self.compared_prices = {bid: self.compared(self.bids[bid]) for bid in inside}
            lowest = min(self.compared_prices.values())
            totals = {bid: self.score(bid, lowest) for bid in inside}
            key = lambda bid: (-totals[bid], self.price[bid])
            ranks = self.ranks(inside, key)
            standing = self.settle_brands(inside, lambda bid: -totals[bid])
            eligible = [bid for bid in inside if standing.get(bid) != "second_to_another"]
            candidates = self.candidates(eligible, key)
        decimals = max(2, self.rounding["decimals"])
        return {
            "failed": failed,
            "left": left,
            "candidates": candidates,
            "bids": [
                {
                    "id": name,
                    "price": amount(self.price[name]),
                    "repairs": self.repairs[name],
                    "price_for_scoring": amount(self.compared_prices[name]) if name in self.compared_prices else None,
                    "price_score": shown(self.price_scores[name], decimals) if name in self.price_scores else None,
                    "total": shown(totals[name], decimals) if name in totals else None,
                    "rank": ranks.get(name),
                    "brand": standing.get(name),
                    "excluded": self.out[name],
                }
                for name in self.bids
            ],
        }


def drawn(seed):
    """A case: small numbers, so that ties, brands and exclusions are frequent."""
    draw = random.Random(seed)
    scoring = draw.random() < 0.6
    case = {"case": 1, "rule_pack": draw.choice(["GP/1", "CTB/1"]), "kind": draw.choice(["goods", "services", "works"])}
    case["method"] = "comprehensive_scoring" if scoring else "lowest_evaluated_price"
    if draw.random() < 0.4:
        case["draw_seed"] = hashlib.sha256(str(seed).encode()).hexdigest()
    if draw.random() < 0.5:
        case["ceiling"] = amount(Fraction(draw.randint(90, 130)))
    if draw.random() < 0.3:
        case["budget"] = amount(Fraction(draw.randint(90, 130)))
    case["candidates_max"] = draw.randint(1, 4)
    kinds = draw.sample(["small_firm", "consortium", "domestic_product"], draw.randint(0, 3))
    case["deductions"] = [
        {"kind": kind, "percent": f"{draw.randint(0, 40)}.{draw.choice(['00', '25', '50'])}", "base": draw.choice(["remaining", "bid"])}
        for kind in kinds
    ]
    case["brands"] = {"count_as_one": draw.random() < 0.8}
    case["rounding"] = {
        "at": draw.choice(["price_score", "weighted_price_score", "each_criterion", "total", "never"]),
        "decimals": draw.randint(0, 4),
    }
    case["ties"] = [{"by": "lower_price"}] if draw.random() < 0.3 else []
    names = [f"B{n}" for n in range(draw.randint(2, 12))]
    case["bids"] = [bid(draw, name) for name in names]
    if scoring:
        criteria(draw, case)
        case["experts"] = [f"E{n}" for n in range(draw.choice([3, 5, 7]))]
        scored = [leaf for leaf, _, _ in leaves(case["criteria"]) if leaf["kind"] != "price"]
        case["scores"] = {
            expert: {name: {leaf["id"]: score(draw, leaf) for leaf in scored} for name in names}
            for expert in case["experts"]
        }
        if draw.random() < 0.4:
            case["ties"].append({"by": "higher_criterion", "criterion": draw.choice(["g", "s"])})
    return case


def criteria(draw, case):
    price = draw.randint(1, 60)
    rest = 100 - price
    first = draw.randint(1, rest - 1) if rest > 1 else rest
    group = [
        {"id": "o", "kind": "objective", "maximum": str(first)},
        {"id": "s", "kind": "subjective", "maximum": str(rest - first)},
    ]
    case["criteria"] = [{"id": "p", "kind": "price", "maximum": str(price)}, {"id": "g", "parts": group}]
    if draw.random() < 0.4:
        case["criteria"] = [
            {"id": "p", "kind": "price", "maximum": "100", "weight": f"{price}.00"},
            {"id": "g", "weight": f"{rest}.00", "parts": [
                {"id": "o", "kind": "objective", "maximum": "40"},
                {"id": "s", "kind": "subjective", "maximum": "60", "bands": [{"from": "10", "to": "20"}, {"from": "30.5", "to": "60"}]},
            ]},
        ]


def score(draw, leaf):
    if "bands" in leaf:
        band = draw.choice(leaf["bands"])
        low, high = Fraction(band["from"]), Fraction(band["to"])
        return str(float(low + (high - low) * draw.randint(0, 8) / 8))
    most = int(leaf["maximum"])
    value = draw.randint(0, most * 4)
    return f"{value // 4}.{value % 4 * 25:02d}"


def bid(draw, name):
    price = Fraction(draw.randint(60, 120))
    if draw.random() < 0.5:
        price += Fraction(draw.randint(0, 99), 100)
    facts = {"id": name, "sheet": {"price": amount(price)}}
    if draw.random() < 0.15:
        facts["sheet"]["words"] = amount(price + draw.choice([-1, 0, 1]))
    if draw.random() < 0.1:
        facts["sheet"]["elsewhere"] = amount(price + draw.choice([-2, 0]))
    if draw.random() < 0.25:
        quantities = [Fraction(draw.randint(1, 30), draw.choice([1, 2, 4, 3000])) for _ in range(draw.randint(1, 3))]
        items = [{"quantity": shown(max(q, Fraction(1, 10_000)), 4), "unit_price": amount(Fraction(draw.randint(1, 500), 100))} for q in quantities]
        total = sum(half_up(Fraction(i["quantity"]) * Fraction(i["unit_price"]), 2) for i in items)
        held = Fraction(facts["sheet"].get("words", facts["sheet"]["price"]))
        if draw.random() < 0.3 and total < held:
            items[0]["misplaced"] = True
        elif total < 1:
            items = []
        if items:
            facts["items"] = items
    if draw.random() < 0.5:
        facts["repair_confirmed"] = draw.random() < 0.7
    if draw.random() < 0.4:
        facts["brand"] = draw.choice(["K", "L", "M"])
    for flag in ["small_firm", "consortium", "domestic_product"]:
        if draw.random() < 0.4:
            facts[flag] = True
    for review in ["qualification", "responsiveness"]:
        if draw.random() < 0.07:
            facts[review] = {"passed": False, "reason": "as found"}
    if draw.random() < 0.1:
        facts["explanation"] = draw.choice(["accepted", "rejected"])
    return facts


def main():
    for seed in range(int(sys.argv[1])):
        case = drawn(seed)
        print(json.dumps({"case": case, "expected": Evaluation(case).run()}, ensure_ascii=False))


main()
