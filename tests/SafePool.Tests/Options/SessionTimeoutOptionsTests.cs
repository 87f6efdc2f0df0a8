using Npgsql;
using SafePool.Options;
using Xunit;

namespace SafePool.Tests.Options;

public sealed class SessionTimeoutOptionsTests
{
    [Fact]
    [Trait("Conformance", "105")]
    public void DataSourceString_EveryTimeoutIsSet_SendsThemAsStartUpOptions()
    {
        var npgsql = OptionsKit.ForNpgsql(configure: options =>
        {
            options.StatementTimeout = TimeSpan.FromSeconds(5);
            options.LockTimeout = TimeSpan.FromMilliseconds(250);
            options.IdleInTransactionTimeout = TimeSpan.FromMinutes(1);
            options.TransactionTimeout = TimeSpan.FromHours(1);
        });

        Assert.Equal(
            "-c statement_timeout=5000 -c lock_timeout=250 -c idle_in_transaction_session_timeout=60000 -c transaction_timeout=3600000",
            npgsql.Options);
    }

    [Fact]
    public void DataSourceString_TheStringHasOptionsOfItsOwn_KeepsThemAndAddsTheRest()
    {
        var npgsql = OptionsKit.ForNpgsql(
            "Options=-c work_mem=64MB -c lock_timeout=1s",
            options => options.StatementTimeout = TimeSpan.FromSeconds(5));

        Assert.Equal("-c work_mem=64MB -c lock_timeout=1s -c statement_timeout=5000", npgsql.Options);
    }

    [Theory]
    [InlineData("-c statement_timeout=250", 250)]
    [InlineData("-cstatement_timeout=250ms", 250)]
    [InlineData("-c STATEMENT_TIMEOUT=5s", 5_000)]
    [InlineData("--statement_timeout=2min", 120_000)]
    [InlineData("--statement-timeout=1h", 3_600_000)]
    [InlineData("-c statement_timeout=1 -c statement_timeout=1d", 86_400_000)]
    public void Settle_TheStringHasATimeout_IsReadInEveryWayThatPostgresWritesIt(string startUpOptions, int milliseconds)
    {
        var settings = OptionsKit.Settle($"Options={startUpOptions}");

        Assert.Equal(
            new SessionTimeout("statement_timeout", TimeSpan.FromMilliseconds(milliseconds)), Assert.Single(settings.SessionTimeouts));
    }

    [Fact]
    public void Settle_TheStringSaysZero_IsNoLimitAndNothingToVerify()
    {
        var settings = OptionsKit.Settle("Options=-c statement_timeout=0");

        Assert.Empty(settings.SessionTimeouts);
        Assert.Contains("statement_timeout=0", settings.DataSourceString, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("soon")]
    [InlineData("5.5s")]
    [InlineData("-1")]
    [InlineData("5weeks")]
    [InlineData("99999999999999999999")]
    public void Settle_TheStringsTimeoutIsNoDuration_IsAFault(string text)
        => Assert.StartsWith(
            $"'statement_timeout={text}' in the Options of the connection string is no duration",
            Assert.Single(OptionsKit.Faults($"Options=-c statement_timeout={text}")),
            StringComparison.Ordinal);

    [Theory]
    [InlineData(null, null)]
    [InlineData("-c work_mem=64MB", "-c work_mem=64MB")]
    [InlineData("-c statement_timeout=250", null)]
    [InlineData("-c work_mem=64MB --statement-timeout=5s -cLOCK_TIMEOUT=1 -c geqo=off", "-c work_mem=64MB -c geqo=off")]
    public void BareDataSourceString_WhateverTheStringSays_HasEverythingButTheTimeouts(string? startUpOptions, string? left)
    {
        var settings = OptionsKit.Settle(startUpOptions is null ? "" : $"Options={startUpOptions}", options => options.IdleInTransactionTimeout = TimeSpan.FromSeconds(1));

        Assert.Equal(left, new NpgsqlConnectionStringBuilder(settings.BareDataSourceString).Options);
    }

    [Theory]
    [InlineData(TimeoutStrategy.Auto, "-c statement_timeout=1000")]
    [InlineData(TimeoutStrategy.Startup, "-c statement_timeout=1000")]
    [InlineData(TimeoutStrategy.PerLease, null)]
    [InlineData(TimeoutStrategy.None, null)]
    public void DataSourceString_ByStrategy_SendsTimeoutsAtTheStartOrNot(TimeoutStrategy strategy, string? sent)
        => Assert.Equal(sent, OptionsKit.ForNpgsql("Options=-c statement_timeout=1000", options => options.Timeouts = strategy).Options);
}
