using SafePool.Samples.Exhaustion.Sides;

namespace SafePool.Samples.Exhaustion;

/// <summary>Runs scenarios, each side of each on a fresh pool.</summary>
internal sealed class Replay(Server server, Action<string> progress, Action<string> done)
{
    private static readonly TimeSpan _patienceWithSessions = TimeSpan.FromSeconds(3);

    public async Task<IReadOnlyList<Outcome>> RunAsync(IReadOnlyList<Scenario> scenarios)
    {
        var outcomes = new List<Outcome>();
        foreach (var scenario in scenarios)
        {
            var size = await FitAsync(scenario.Size);
            await scenario.PrepareAsync(server);
            try
            {
                foreach (var contender in scenario.Contenders)
                {
                    outcomes.Add(await RunAsync(scenario, contender, size, $"exhaustion-{Environment.ProcessId}-{outcomes.Count}"));
                }
            }
            finally
            {
                await scenario.CleanUpAsync(server);
            }
        }

        return outcomes;
    }

    private async Task<Outcome> RunAsync(Scenario scenario, Contender contender, PoolSize size, string applicationName)
    {
        var title = $"{scenario.Title}, {contender.Name}";
        progress(title);
        var begun = TimeProvider.System.GetTimestamp();
        var tally = new Tally(state => progress($"{title}: {state}"));
        var side = contender.Create(server.ConnectionString(applicationName, size.Places, size.AcquireTimeout), size);
        Outcome outcome;
        var sessionsLeft = 0;
        try
        {
            var crash = await TryRunAsync(scenario, side, size, tally);
            var placesBack = await RollCall.CountAsync(side, size.Places);
            outcome = new Outcome(scenario, contender, size, tally, TimeProvider.System.GetElapsedTime(begun))
            {
                PlacesBack = placesBack,
                Loss = await side.FindLossAsync(),
                Recovered = side.Recovered,
                Message = tally.Message ?? side.Warning,
                Crash = crash,
            };
        }
        finally
        {
            await side.DisposeAsync();
            // Raw Npgsql never ends what it has lost, and the next side needs the room.
            sessionsLeft = await server.EndSessionsAsync(applicationName, contender.MustLoseNothing ? _patienceWithSessions : TimeSpan.Zero);
        }

        done($"{title}: {tally.Served:N0} served, {tally.Failed:N0} failed, {outcome.Elapsed.TotalSeconds:0.0} s");
        return outcome with { SessionsLeft = sessionsLeft };
    }

    private static async Task<Exception?> TryRunAsync(Scenario scenario, ISide side, PoolSize size, Tally tally)
    {
        try
        {
            await scenario.RunAsync(side, size, tally);
            return null;
        }
        catch (Exception error)
        {
            return error;
        }
    }

    private async Task<PoolSize> FitAsync(PoolSize size)
    {
        var room = await server.RoomAsync();
        if (room >= size.Places)
        {
            return size;
        }

        done($"The server has room for a pool of {room} only, so both sides get that instead of {size.Places}.");
        return size with { Places = Math.Max(1, room) };
    }
}
