using SafePool.Options;
using Xunit;

namespace SafePool.Tests.Options;

public sealed class ConnectionStringReaderTests
{
    [Fact]
    public void Settle_TheStringSaysWhatOptionsLeaveUnset_IsTakenFromTheString()
    {
        var settings = OptionsKit.Settle(
            "Maximum Pool Size=7;Minimum Pool Size=2;Timeout=9;Connection Lifetime=60;Connection Idle Lifetime=40;No Reset On Close=true;Enlist=false");

        Assert.Equal((2, 7), (settings.MinSize, settings.MaxSize));
        Assert.Equal(TimeSpan.FromSeconds(9), settings.ConnectTimeout);
        Assert.Equal(TimeSpan.FromSeconds(60), settings.MaxLifetime);
        Assert.Equal(TimeSpan.FromSeconds(40), settings.IdleTimeout);
        Assert.Equal(SessionReset.Rollback, settings.Reset);
        Assert.False(settings.Enlists);
    }

    [Fact]
    public void Settle_BothSayTheSame_IsNoFault()
    {
        var settings = OptionsKit.Settle(
            "Maximum Pool Size=7;Timeout=9;Options=-c statement_timeout=5s",
            options => (options.MaxSize, options.ConnectTimeout, options.StatementTimeout) = (7, TimeSpan.FromSeconds(9), TimeSpan.FromSeconds(5)));

        Assert.Equal(7, settings.MaxSize);
        Assert.Equal(new SessionTimeout("statement_timeout", TimeSpan.FromSeconds(5)), Assert.Single(settings.SessionTimeouts));
    }

    [Theory]
    [InlineData("Maximum Pool Size=7", "MaxSize (3) and 'Maximum Pool Size' in the connection string (7) differ. Keep one of them.")]
    [InlineData("Minimum Pool Size=2", "MinSize (1) and 'Minimum Pool Size' in the connection string (2) differ. Keep one of them.")]
    [InlineData("Timeout=9", "ConnectTimeout (00:00:04) and 'Timeout' in the connection string (00:00:09) differ. Keep one of them.")]
    [InlineData("Connection Lifetime=60", "MaxLifetime (00:30:00) and 'Connection Lifetime' in the connection string (00:01:00) differ. Keep one of them.")]
    [InlineData("Connection Idle Lifetime=40", "IdleTimeout (00:02:00) and 'Connection Idle Lifetime' in the connection string (00:00:40) differ. Keep one of them.")]
    [InlineData("No Reset On Close=true", "Reset (Full) and 'No Reset On Close' in the connection string (Rollback) differ. Keep one of them.")]
    [InlineData("Options=-c statement_timeout=7000", "StatementTimeout (00:00:05) and 'statement_timeout' in the Options of the connection string (00:00:07) differ. Keep one of them.")]
    [InlineData("Options=--statement-timeout=7s", "StatementTimeout (00:00:05) and 'statement_timeout' in the Options of the connection string (00:00:07) differ. Keep one of them.")]
    [Trait("Conformance", "1")]
    public void Settle_BothSaySomethingElse_PrintsBothValues(string keywords, string fault)
    {
        var faults = OptionsKit.Faults(keywords, options =>
        {
            (options.MinSize, options.MaxSize, options.Reset) = (1, 3, SessionReset.Full);
            options.ConnectTimeout = TimeSpan.FromSeconds(4);
            options.MaxLifetime = TimeSpan.FromMinutes(30);
            options.IdleTimeout = TimeSpan.FromMinutes(2);
            options.StatementTimeout = TimeSpan.FromSeconds(5);
        });

        Assert.Equal(fault, Assert.Single(faults));
    }

    [Theory]
    [InlineData("No Reset On Close=false", SessionReset.Strict)]
    [InlineData("No Reset On Close=false", SessionReset.Full)]
    [InlineData("No Reset On Close=true", SessionReset.Rollback)]
    public void Settle_ResetAgreesWithTheString_IsKept(string keywords, SessionReset reset)
        => Assert.Equal(reset, OptionsKit.Settle(keywords, options => options.Reset = reset).Reset);

    [Fact]
    public void Settle_ConnectionLifetimeZeroInTheString_IsNoLimit()
        => Assert.Equal(Timeout.InfiniteTimeSpan, OptionsKit.Settle("Connection Lifetime=0").MaxLifetime);

    [Theory]
    [InlineData("Maximum Pool Size=0", "MaxSize (0) must be from 1 to 10000.")]
    [InlineData("Connection Idle Lifetime=0", "IdleTimeout (00:00:00) must be at least 00:00:01")]
    [InlineData("Connection Idle Lifetime=90000", "IdleTimeout (1.01:00:00) must be at least 00:00:01")]
    [InlineData("Connection Lifetime=3000000", "MaxLifetime (34.17:20:00) must be at least 00:00:01")]
    [Trait("Conformance", "1")]
    public void Settle_TheStringIsOutOfRange_IsAFaultOfThatOption(string keywords, string fault)
        => Assert.Contains(OptionsKit.Faults(keywords), one => one.StartsWith(fault, StringComparison.Ordinal));

    [Theory]
    [InlineData("Timeout=0", "ConnectionString says Timeout=0: no limit to Npgsql")]
    [InlineData("Pooling=false", "ConnectionString says Pooling=false")]
    [InlineData("Multiplexing=true", "ConnectionString says Multiplexing=true")]
    public void Settle_TheStringContradictsAGovernedPool_IsRefused(string keywords, string fault)
        => Assert.StartsWith(fault, Assert.Single(OptionsKit.Faults(keywords)), StringComparison.Ordinal);

    [Theory]
    [InlineData("Host=db;Password=s3;s3cret")]
    [InlineData("Host=db;s3cret=1;Password=x")]
    [InlineData("Host=db;Port=s3cret")]
    [InlineData("Host=db;Timeout=s3cret")]
    [InlineData("s3cret")]
    [Trait("Conformance", "98")]
    public void Settle_TheStringCannotBeRead_SaysSoWithoutPrintingAnyOfIt(string connectionString)
    {
        var fault = Assert.Single(OptionsKit.FaultsOf(connectionString));

        Assert.StartsWith("ConnectionString cannot be read by Npgsql", fault, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("")]
    [InlineData("  ")]
    [InlineData(null)]
    public void Settle_TheStringIsEmpty_SaysWhatItShouldBe(string? connectionString)
        => Assert.StartsWith("ConnectionString is empty", Assert.Single(OptionsKit.FaultsOf(connectionString!)), StringComparison.Ordinal);

    [Fact]
    public void DataSourceString_Defaults_MakeNpgsqlsOwnPoolObey()
    {
        var npgsql = OptionsKit.ForNpgsql(configure: options => options.MaxSize = 20);

        Assert.Equal((0, 0, 3), (npgsql.ConnectionLifetime, npgsql.KeepAlive, npgsql.Timeout));
        Assert.False(npgsql.Enlist);
        Assert.False(npgsql.NoResetOnClose);
        Assert.Equal(("db", "orders", "s3cret"), (npgsql.Host, npgsql.Database, npgsql.Password));
    }

    [Fact]
    public void DataSourceString_UsersOwnSettings_AreKeptWhereTheyHarmNothing()
    {
        var npgsql = OptionsKit.ForNpgsql("Application Name=shop;Connection Lifetime=60;Command Timeout=11;Enlist=true");

        Assert.Equal((11, 0), (npgsql.CommandTimeout, npgsql.ConnectionLifetime));
        Assert.Equal("shop", npgsql.ApplicationName);
        Assert.False(npgsql.Enlist);
    }

    [Fact]
    public void DataSourceString_KeepaliveIsAskedFor_IsNpgsqlsOwn()
        => Assert.Equal(30, OptionsKit.ForNpgsql("Keepalive=30").KeepAlive);

    [Fact]
    public void DataSourceString_FractionsOfASecond_AreRoundedUpForNpgsql()
        => Assert.Equal(2, OptionsKit.ForNpgsql(configure: options => options.ConnectTimeout = TimeSpan.FromMilliseconds(1001)).Timeout);

    [Fact]
    public void DataSourceString_ResetIsRollback_SwitchesNpgsqlsResetOff()
        => Assert.True(OptionsKit.ForNpgsql(configure: options => options.Reset = SessionReset.Rollback).NoResetOnClose);
}
