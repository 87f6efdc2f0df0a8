using Microsoft.Extensions.Options;
using SafePool.Options;
using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Options;

public sealed class ConnectionPoolOptionsValidatorTests
{
    public static TheoryData<string, Action<ConnectionPoolOptions>, string> OutOfRange { get; } = new()
    {
        { "MaxSize", options => options.MaxSize = 0, "MaxSize (0) must be from 1 to 10000." },
        { "MaxSize", options => options.MaxSize = 10_001, "MaxSize (10001) must be from 1 to 10000." },
        { "MinSize", options => options.MinSize = -1, "MinSize (-1) must be from 0 to 10000." },
        { "MaxWaiters", options => options.MaxWaiters = -1, "MaxWaiters (-1) must be from 0 to 1000000." },
        { "MaxWaiters", options => options.MaxWaiters = 1_000_001, "MaxWaiters (1000001) must be from 0 to 1000000." },
        { "MaxConcurrentOpens", options => options.MaxConcurrentOpens = 0, "MaxConcurrentOpens (0) must be from 1 to 1000." },
        { "MaxConcurrentOpens", options => options.MaxConcurrentOpens = 1_001, "MaxConcurrentOpens (1001) must be from 1 to 1000." },
        { "AcquireTimeout", options => options.AcquireTimeout = TimeSpan.Zero, "AcquireTimeout (00:00:00) must be more than zero and at most 1.00:00:00, or Timeout.InfiniteTimeSpan." },
        { "AcquireTimeout", options => options.AcquireTimeout = TimeSpan.FromSeconds(-2), "AcquireTimeout (-00:00:02) must be more than zero and at most 1.00:00:00, or Timeout.InfiniteTimeSpan." },
        { "AcquireTimeout", options => options.AcquireTimeout = TimeSpan.FromDays(2), "AcquireTimeout (2.00:00:00) must be more than zero and at most 1.00:00:00, or Timeout.InfiniteTimeSpan." },
        { "ConnectTimeout", options => options.ConnectTimeout = TimeSpan.Zero, "ConnectTimeout (00:00:00) must be more than zero and at most 00:17:04." },
        { "ConnectTimeout", options => options.ConnectTimeout = Timeout.InfiniteTimeSpan, "ConnectTimeout (-00:00:00.0010000) must be more than zero and at most 00:17:04." },
        { "IdleTimeout", options => options.IdleTimeout = TimeSpan.FromMilliseconds(999), "IdleTimeout (00:00:00.9990000) must be at least 00:00:01 and at most 1.00:00:00, or Timeout.InfiniteTimeSpan." },
        { "MaxLifetime", options => options.MaxLifetime = TimeSpan.FromDays(31), "MaxLifetime (31.00:00:00) must be at least 00:00:01 and at most 30.00:00:00, or Timeout.InfiniteTimeSpan." },
        { "Leaks.Threshold", options => options.Leaks.Threshold = TimeSpan.Zero, "Leaks.Threshold (00:00:00) must be more than zero and at most 1.00:00:00." },
        { "Name", options => options.Name = "", "Name is empty. Give it a name, or leave it null for the name of the database." },
        { "Reset", options => options.Reset = (SessionReset)9, "Reset (9) is not one of Full, Strict, Rollback." },
    };

    [Theory]
    [MemberData(nameof(OutOfRange), DisableDiscoveryEnumeration = true)]
    [Trait("Conformance", "1")]
    public void Settle_OutOfRange_NamesTheOptionItsValueAndTheRange(string option, Action<ConnectionPoolOptions> configure, string fault)
    {
        Assert.Equal(fault, Assert.Single(OptionsKit.Faults(configure)));
        Assert.StartsWith(option, fault, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("StatementTimeout")]
    [InlineData("LockTimeout")]
    [InlineData("IdleInTransactionTimeout")]
    [InlineData("TransactionTimeout")]
    [Trait("Conformance", "1")]
    public void Settle_ServerTimeoutBelowAMillisecond_IsRefusedBecauseItWouldMeanNone(string option)
    {
        var fault = Assert.Single(OptionsKit.Faults(options => Set(options, option, TimeSpan.FromTicks(1))));

        Assert.StartsWith($"{option} (00:00:00.0000001) must be from 1 millisecond to 24.20:31:23.6470000", fault, StringComparison.Ordinal);
    }

    [Fact]
    public void Settle_TheEdgesOfEveryRange_AreAccepted()
    {
        var settings = OptionsKit.Settle(configure: options =>
        {
            (options.MinSize, options.MaxSize, options.MaxWaiters, options.MaxConcurrentOpens) = (10_000, 10_000, 0, 1_000);
            (options.AcquireTimeout, options.IdleTimeout, options.MaxLifetime) =
                (Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
            (options.ConnectTimeout, options.StatementTimeout) = (TimeSpan.FromSeconds(1024), TimeSpan.FromMilliseconds(int.MaxValue));
        });

        Assert.Equal((10_000, 10_000, 0, 1_000), (settings.MinSize, settings.MaxSize, settings.MaxWaiters, settings.MaxConcurrentOpens));
        Assert.Equal(Timeout.InfiniteTimeSpan, settings.AcquireTimeout);
    }

    [Fact]
    public void Settle_Defaults_AreThoseOfTheDocumentation()
    {
        var settings = OptionsKit.Settle();

        Assert.Equal(("orders", 0, 20, 1000, 4), (settings.Name, settings.MinSize, settings.MaxSize, settings.MaxWaiters, settings.MaxConcurrentOpens));
        Assert.Equal(TimeSpan.FromSeconds(5), settings.AcquireTimeout);
        Assert.Equal(TimeSpan.FromSeconds(3), settings.ConnectTimeout);
        Assert.Equal(TimeSpan.FromMinutes(5), settings.IdleTimeout);
        Assert.Equal(TimeSpan.FromHours(1), settings.MaxLifetime);
        Assert.Equal(TimeSpan.FromSeconds(30), settings.Leaks.Threshold);
        Assert.Equal(SessionReset.Full, settings.Reset);
        Assert.Empty(settings.SessionTimeouts);
        Assert.True(settings.Enlists);
    }

    [Fact]
    [Trait("Conformance", "1")]
    public void Settle_MinimumAboveMaximum_NamesBothValues()
        => Assert.Equal(
            "MinSize (30) must not exceed MaxSize (20). Lower the first or raise the second.",
            Assert.Single(OptionsKit.Faults(options => options.MinSize = 30)));

    [Fact]
    [Trait("Conformance", "1")]
    public void Settle_SeveralFaults_ReportsAllAtOnce()
    {
        var faults = OptionsKit.Faults("Pooling=false;Maximum Pool Size=50", options =>
        {
            (options.MinSize, options.MaxSize, options.MaxConcurrentOpens) = (70, 60, 0);
            options.StatementTimeout = TimeSpan.Zero;
        });

        Assert.Collection(
            faults,
            fault => Assert.StartsWith("MaxConcurrentOpens (0)", fault, StringComparison.Ordinal),
            fault => Assert.StartsWith("StatementTimeout (00:00:00)", fault, StringComparison.Ordinal),
            fault => Assert.StartsWith("ConnectionString says Pooling=false", fault, StringComparison.Ordinal),
            fault => Assert.StartsWith("MaxSize (60) and 'Maximum Pool Size' in the connection string (50) differ", fault, StringComparison.Ordinal),
            fault => Assert.StartsWith("MinSize (70) must not exceed MaxSize (50)", fault, StringComparison.Ordinal));
    }

    [Fact]
    [Trait("Conformance", "101")]
    public void Options_APoolWasBuilt_AreFrozen()
    {
        var options = new ConnectionPoolOptions { ConnectionString = "Host=db;Database=orders" };
        using var pool = new ConnectionPool(options);

        var error = Assert.Throws<InvalidOperationException>(() => options.MaxSize = 5);
        Assert.StartsWith("MaxSize cannot change any more", error.Message, StringComparison.Ordinal);
        Assert.Throws<InvalidOperationException>(() => options.Leaks.Threshold = TimeSpan.FromSeconds(1));
        Assert.Throws<InvalidOperationException>(() => options.ConnectionString = "Host=other");
        Assert.Throws<NotSupportedException>(() => options.RetireOn.Add("AP001"));
        Assert.Equal(20, options.MaxSize);
    }

    [Theory]
    [InlineData("2500")]
    [InlineData("ap001")]
    [InlineData("25-06")]
    [InlineData("")]
    public void Settle_RetireOnHasWhatIsNoSqlState_NamesItAndTheRemedy(string state)
    {
        var fault = Assert.Single(OptionsKit.Faults(options => options.RetireOn.UnionWith(["AP001", state])));

        Assert.Equal($"RetireOn has '{state}', which is no SQLSTATE. Write its five digits or capital letters, such as 25006.", fault);
    }

    [Fact]
    [Trait("Conformance", "101")]
    public void Options_ThePoolWasRefused_CanStillBeRepaired()
    {
        var options = new ConnectionPoolOptions { ConnectionString = "Host=db", MaxSize = 0 };
        Assert.Throws<OptionsValidationException>(() => new ConnectionPool(options));

        options.MaxSize = 1;

        using var pool = new ConnectionPool(options);
    }

    [Fact]
    [Trait("Conformance", "98")]
    public void ToString_OfTheSettings_ShowsNoPassword()
        => Assert.DoesNotContain("s3cret", OptionsKit.Settle().ToString(), StringComparison.Ordinal);

    [Theory]
    [InlineData(-1)]
    [InlineData(2 * 86_400)]
    public async Task RentAsync_OwnTimeoutOutOfRange_IsRefused(int seconds)
    {
        await using var scripted = ScriptedPool.Create();

        var error = await Assert.ThrowsAsync<ArgumentException>(() => scripted.BeginRent(TimeSpan.FromSeconds(seconds)));

        Assert.StartsWith("AcquireTimeout (", error.Message, StringComparison.Ordinal);
        Assert.Equal(0, scripted.Source.Opens);
    }

    private static void Set(ConnectionPoolOptions options, string option, TimeSpan value)
        => typeof(ConnectionPoolOptions).GetProperty(option)!.SetValue(options, value);
}
