"""One suite per port. A behaviour that is in no suite is not promised.

To check a driver of your own, subclass a suite in a test module and give it its fixtures::

    from umbel.testing.conformance.broker_suite import BrokerSuite

    class TestMyBroker(BrokerSuite):
        @pytest.fixture
        def broker(self): ...

The suites need pytest, which Umbel itself does not install.
"""
