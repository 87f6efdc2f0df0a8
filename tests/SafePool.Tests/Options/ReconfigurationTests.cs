using Npgsql;
using SafePool.Options;
using SafePool.Renting;
using Xunit;

namespace SafePool.Tests.Options;

public sealed class ReconfigurationTests
{
    [Fact]
    public void Names_OfAllOptions_AreThoseThatUsersCanSet()
    {
        var settable = typeof(ConnectionPoolOptions).GetProperties().Where(property => property.CanWrite).Select(property => property.Name)
            .Concat(typeof(LeakOptions).GetProperties().Select(property => "Leaks." + property.Name))
            .Concat(typeof(BreakerOptions).GetProperties().Select(property => "Breaker." + property.Name));

        Assert.Equal(settable.Order(StringComparer.Ordinal), Reconfiguration.Names.Order(StringComparer.Ordinal));
    }

    /// <summary>With a value of its own in every option: one that <see cref="PoolSettings.ToOptions"/> forgets would come back with its default.</summary>
    [Fact]
    public void ToOptions_SettledAgain_AreTheSameSettings()
    {
        var settings = ConnectionPoolOptionsValidator.Settle(Unusual());

        var again = ConnectionPoolOptionsValidator.Settle(settings.ToOptions());

        // The strings for Npgsql say the same in another order, and what the string said of the pool the options say now.
        foreach (var property in typeof(PoolSettings).GetProperties().Where(property => !property.Name.EndsWith("DataSourceString", StringComparison.Ordinal)
            && property.Name is not (nameof(PoolSettings.SessionTimeouts) or nameof(PoolSettings.Hosts) or nameof(PoolSettings.PublicText))))
        {
            Assert.Equal((property.Name, property.GetValue(settings)), (property.Name, property.GetValue(again)));
        }

        Assert.Equal(settings.Hosts, again.Hosts);
        var (_, difference) = Reconfiguration.Merge(settings, again);
        Assert.Empty(difference.Applied);
        Assert.Empty(difference.Refused);
        var (_, all) = Reconfiguration.Merge(ConnectionPoolOptionsValidator.Settle(new ConnectionPoolOptions { ConnectionString = "Host=other" }), settings);
        Assert.Equal(Reconfiguration.Names.Count(), all.Applied.Length + all.Refused.Length);
    }

    [Fact]
    public void Merge_TheStringSaysItWhereTheOptionDid_IsNoDifference()
    {
        var options = new ConnectionPoolOptions { ConnectionString = "Host=server;Database=orders", MaxSize = 7, StatementTimeout = TimeSpan.FromSeconds(3) };
        var text = new ConnectionPoolOptions { ConnectionString = "Host=server;Database=orders;Maximum Pool Size=7;Options=-c statement_timeout=3000" };

        var (_, difference) = Reconfiguration.Merge(ConnectionPoolOptionsValidator.Settle(options), ConnectionPoolOptionsValidator.Settle(text));

        Assert.Empty(difference.Applied);
        Assert.Empty(difference.Refused);
    }

    private static ConnectionPoolOptions Unusual()
    {
        static ValueTask Hook(NpgsqlConnection connection, CancellationToken cancellationToken) => default;
        var options = new ConnectionPoolOptions
        {
            ConnectionString = "Host=server;Username=app;Password=secret;Options=-c lock_timeout=7000",
            Name = "own",
            ConfigureDataSource = _ => { },
            MinSize = 2,
            MaxSize = 33,
            MaxWaiters = 44,
            MaxConcurrentOpens = 5,
            ExpectedInstances = 6,
            AcquireTimeout = TimeSpan.FromSeconds(7),
            ConnectTimeout = TimeSpan.FromSeconds(8),
            StatementTimeout = TimeSpan.FromSeconds(9),
            IdleInTransactionTimeout = TimeSpan.FromSeconds(10),
            TransactionTimeout = TimeSpan.FromSeconds(11),
            Timeouts = TimeoutStrategy.Startup,
            ProbeAfterIdle = TimeSpan.FromSeconds(12),
            ProbeAfterQuiet = TimeSpan.FromSeconds(13),
            WatchServer = false,
            IdleTimeout = TimeSpan.FromSeconds(14),
            MaxLifetime = TimeSpan.FromSeconds(15),
            Reset = SessionReset.Strict,
            PhysicalConnectionOpened = Hook,
            LeaseRented = Hook,
            LeaseReturning = Hook,
        };
        options.RetireOn.Add("AP001");
        options.Leaks.Threshold = TimeSpan.FromSeconds(16);
        options.Leaks.BusyThreshold = TimeSpan.FromSeconds(17);
        options.Leaks.Tracking = LeaseTracking.CallSite;
        options.Leaks.StackTraceSampling = 0.25;
        options.Leaks.NestedRents = NestedRentPolicy.Warn;
        options.Leaks.AbandonAfter = TimeSpan.FromSeconds(18);
        options.Leaks.TerminateRunning = true;
        options.Leaks.InspectBackends = true;
        options.Breaker.Enabled = false;
        options.Breaker.TripAfter = TimeSpan.FromSeconds(19);
        options.Breaker.ProbeInterval = TimeSpan.FromMilliseconds(20);
        options.Breaker.MaxProbeInterval = TimeSpan.FromMilliseconds(21);
        options.Breaker.TripOnExhaustionAfter = TimeSpan.FromSeconds(22);
        return options;
    }
}
