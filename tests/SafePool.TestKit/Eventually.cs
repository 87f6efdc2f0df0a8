namespace SafePool.TestKit;

/// <summary>Waits in real time for what only the outside world can bring about. The one place in tests that does.</summary>
public static class Eventually
{
    private static readonly TimeSpan FirstPause = TimeSpan.FromMilliseconds(2);
    private static readonly TimeSpan LongestPause = TimeSpan.FromMilliseconds(50);

    /// <summary>Returns as soon as <paramref name="condition"/> holds.</summary>
    /// <param name="condition">Asked again and again; one that throws counts as not yet true.</param>
    /// <param name="what">What is waited for, as the failure shall name it: "the idle connection is closed".</param>
    /// <param name="timeout">Default: 10 seconds.</param>
    /// <exception cref="TimeoutException">It did not come true in time; the inner exception is what the last attempt threw.</exception>
    public static Task True(Func<bool> condition, string what, TimeSpan? timeout = null)
    {
        ArgumentNullException.ThrowIfNull(condition);

        return True(() => Task.FromResult(condition()), what, timeout);
    }

    /// <inheritdoc cref="True(Func{bool}, string, TimeSpan?)"/>
    public static async Task True(Func<Task<bool>> condition, string what, TimeSpan? timeout = null)
    {
        ArgumentNullException.ThrowIfNull(condition);

        var patience = timeout ?? TimeSpan.FromSeconds(10);
        var started = TimeProvider.System.GetTimestamp();
        for (var pause = FirstPause; ; pause = Min(pause * 2, LongestPause))
        {
            var (holds, failure) = await AskAsync(condition);
            if (holds)
            {
                return;
            }

            if (TimeProvider.System.GetElapsedTime(started) >= patience)
            {
                throw new TimeoutException($"Waited {patience.TotalSeconds:0.##} s in vain until {what}.", failure);
            }

            await Task.Delay(pause, TimeProvider.System);
        }
    }

    private static async Task<(bool Holds, Exception? Failure)> AskAsync(Func<Task<bool>> condition)
    {
        try
        {
            return (await condition(), null);
        }
#pragma warning disable CA1031 // Whatever the last attempt threw is told once patience ends.
        catch (Exception failure)
#pragma warning restore CA1031
        {
            return (false, failure);
        }
    }

    private static TimeSpan Min(TimeSpan left, TimeSpan right) => left < right ? left : right;
}
