using Npgsql;
using SafePool.Driver.Hosts;
using SafePool.Options;
using Xunit;

namespace SafePool.Tests.Options;

public sealed class HostListTests
{
    [Theory]
    [InlineData("a", "a:5432")]
    [InlineData("a,b", "a:5432 b:5432")]
    [InlineData("a:1, b:2 ,c", "a:1 b:2 c:5432")]
    [InlineData("::1,[::1]:6543,[fe80::1]", "::1:5432 [::1]:6543 [fe80::1]:5432")]
    [InlineData("/var/run/postgresql,/tmp:5433", "/var/run/postgresql:5432 /tmp:5433")]
    [InlineData("@abstract,b", "@abstract:5432 b:5432")]
    public void Read_Hosts_AsNpgsqlReadsThem(string host, string expected)
    {
        var settings = SafePool.Options.ConnectionPoolOptionsValidator.Settle(new ConnectionPoolOptions { ConnectionString = $"Host={host}" });

        Assert.Equal(expected, string.Join(' ', settings.Hosts));
    }

    [Fact]
    public void Read_PortBesideSeveralHosts_IsThatOfThoseWithoutOne()
        => Assert.Equal("a:7 b:2", string.Join(' ', OptionsKit.Settle("Host=a,b:2;Port=7").Hosts));

    [Theory]
    [InlineData("a,,b", "empty entry")]
    [InlineData("a,", "empty entry")]
    [InlineData("a:x,b", "no number")]
    [InlineData("a:0,b", "no number")]
    [InlineData("a:65536,b", "no number")]
    public void Read_HostsThatLeadNowhere_AreAFault(string host, string fault)
        => Assert.Contains(fault, Assert.Single(OptionsKit.FaultsOf($"Host={host}")), StringComparison.Ordinal);

    [Fact]
    public void Read_WhatNpgsqlWouldChooseBy_IsThePoolsAndNotNpgsqls()
    {
        var settings = OptionsKit.Settle("Host=a,b;Target Session Attributes=Prefer-Standby;Load Balance Hosts=true;Host Recheck Seconds=7");

        Assert.Equal((TargetSessionAttributes.PreferStandby, true, TimeSpan.FromSeconds(7)), (settings.Target, settings.LoadBalancesHosts, settings.HostRecheck));
        var npgsql = new NpgsqlConnectionStringBuilder(settings.DataSourceString);
        Assert.Equal(("a", null, false, 10), (npgsql.Host, npgsql.TargetSessionAttributes, npgsql.LoadBalanceHosts, npgsql.HostRecheckSeconds));
    }

    [Theory]
    [InlineData("Host=a")]
    [InlineData("Host=a,b")]
    public void Read_NothingSaid_TakesWhateverAnswersAndRechecksAfterTenSeconds(string text)
    {
        var settings = OptionsKit.Settle(text);

        Assert.Equal((TargetSessionAttributes.Any, false, TimeSpan.FromSeconds(10)), (settings.Target, settings.LoadBalancesHosts, settings.HostRecheck));
    }

    [Fact]
    public void FitFor_EveryRoleAndTarget_IsAsNpgsqlJudges()
    {
        static string Fits(TargetSessionAttributes target) => string.Join(' ', Enum.GetValues<HostRole>().Select(role => role.FitFor(target).ToString()[0]));

        // Unknown, read-write, read-only, standby: preferred, acceptable or wrong.
        Assert.Equal("P P P P", Fits(TargetSessionAttributes.Any));
        Assert.Equal("W P P W", Fits(TargetSessionAttributes.Primary));
        Assert.Equal("W P W W", Fits(TargetSessionAttributes.ReadWrite));
        Assert.Equal("W W W P", Fits(TargetSessionAttributes.Standby));
        Assert.Equal("W W P P", Fits(TargetSessionAttributes.ReadOnly));
        Assert.Equal("A P P A", Fits(TargetSessionAttributes.PreferPrimary));
        Assert.Equal("A A A P", Fits(TargetSessionAttributes.PreferStandby));
    }
}
