"""`warp-phys systems`."""


class TestSystems:
    def test_the_table(self, run):
        status, out, _ = run("systems")
        assert status == 0
        assert "lotka_volterra" in out
        assert "alpha (1/year)" in out
        assert "g (m/s2, 9.81 unless freed)" in out

    def test_one(self, run):
        _, out, _ = run("systems", "pendulum")
        assert "length" in out
        assert "Reference:" in out

    def test_a_close_name(self, error_of):
        assert error_of("systems", "pendulm").startswith(
            "error: unknown system 'pendulm'; did you mean 'pendulum' or 'double_pendulum'?"
        )
