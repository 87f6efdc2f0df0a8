using System.Globalization;
using SafePool.Tests.Integration;
using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Isolation;

/// <summary>The audit: under <see cref="SessionReset.Strict"/> no lease sees anything of those before it.</summary>
[Collection(nameof(AuditDatabase))]
public sealed class TenantIsolationTests(AuditDatabase database, ITestOutputHelper output)
{
    private const int Wanted = 3000;
    private const int Sessions = 3;

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    [Trait("Conformance", "41")]
    public async Task Return_AfterThousandsOfRandomMutations_NextLeaseSeesNothing()
    {
        var seed = Environment.GetEnvironmentVariable("SAFEPOOL_SEED") is { } given
            ? int.Parse(given, CultureInfo.InvariantCulture)
            : Random.Shared.Next();
        await using var server = await CreateAsync(Sessions, SessionReset.Strict);
        await using var tenants = new Tenants(server.Pool, database, new Random(seed));

        while (tenants.Mutated < Wanted && tenants.Seen.Count == 0)
        {
            await tenants.StepAsync(Sessions, Cancellation);
        }

        await tenants.DisposeAsync();
        await Outstanding.NoneAsync(server.Pool);
        var opened = server.Snapshot.TotalOpened;
        output.WriteLine($"Seed {seed}: {tenants.Mutated} mutations ({tenants.Refused} refused), {tenants.Rented} leases on {opened} sessions.");
        Assert.True(
            tenants.Seen.Count == 0,
            $"Lease {tenants.Rented} saw {string.Join("; ", tenants.Seen)}. SAFEPOOL_SEED={seed} repeats it.\n{string.Join('\n', tenants.History)}");
        Assert.All(Mutations.ForTheNext, mutation => Assert.Contains(mutation.Name, tenants.Kinds));
        Assert.InRange(opened, 1, 2 * Sessions);
        Assert.True(tenants.Rented > 100 * opened, $"{tenants.Rented} leases on {opened} sessions: too few came back to be used again.");
    }

    /// <summary>An audit that could not fail would prove nothing.</summary>
    [Fact]
    public async Task Probes_BeforeAndAfterEachMutationOnOneLease_SeeTheDifference()
    {
        await using var server = await CreateAsync(1, SessionReset.Full);
        foreach (var mutation in Mutations.ForTheNext.Concat(Mutations.AtRest).Concat(Mutations.ForLife))
        {
            server.Pool.Clear();
            await using var lease = await server.Pool.RentAsync(Cancellation);
            Assert.False(await mutation.SeenAsync(lease.Connection, database), $"Seen before it was there: {mutation.Name}.");
            Assert.Empty(await Probes.SeenAsync(lease.Connection));

            await mutation.DoAsync(lease.Connection);

            await (mutation.SeenAtRestAsync?.Invoke(database) ?? Task.CompletedTask);
            Assert.True(await mutation.SeenAsync(lease.Connection, database), $"Not seen: {mutation.Name}.");
            Assert.True(
                Mutations.ForLife.Contains(mutation) || (await Probes.SeenAsync(lease.Connection)).Count > 0,
                $"Not seen among all: {mutation.Name}.");
        }
    }

    private Task<PoolOnServer> CreateAsync(int sessions, SessionReset reset)
        => PoolOnServer.CreateAsync(options => (options.MaxSize, options.Reset) = (sessions, reset), server: database.ConnectionString);
}
