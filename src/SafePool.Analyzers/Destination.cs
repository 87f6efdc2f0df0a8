using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.Operations;

namespace SafePool.Analyzers;

/// <summary>What becomes of a value in the expression it is part of.</summary>
internal enum Fate
{
    /// <summary>It goes somewhere that is not followed: to the caller, a callee, an owner. Somebody else's from then on.</summary>
    Escapes,

    /// <summary>A member of it is used, or it is compared.</summary>
    Used,

    /// <summary>Nothing keeps it.</summary>
    Discarded,

    /// <summary>A local variable keeps it.</summary>
    Kept,

    /// <summary>A using declaration or statement returns it.</summary>
    Using,

    /// <summary>It is disposed here.</summary>
    Disposed,
}

/// <summary>Where a value goes: through awaits, conversions, conditional expressions and the like, until something is done with it.</summary>
internal readonly struct Destination
{
    private Destination(Fate fate, IOperation at, ILocalSymbol? local = null, string member = "")
        => (Fate, At, Local, Member) = (fate, at, local, member);

    public Fate Fate { get; }

    /// <summary>Gets what does it.</summary>
    public IOperation At { get; }

    /// <summary>Gets the variable, where one keeps it.</summary>
    public ILocalSymbol? Local { get; }

    /// <summary>Gets the member that is used.</summary>
    public string Member { get; }

    public static Destination Of(IOperation value)
    {
        for (var parent = value.Parent; ; value = parent, parent = value.Parent)
        {
            switch (parent)
            {
                case IAwaitOperation or IConversionOperation or IParenthesizedOperation or ISwitchExpressionOperation:
                case ISwitchExpressionArmOperation arm when arm.Value == value:
                case ICoalesceOperation:
                case IConditionalOperation choice when choice.Condition != value && choice.Type is not null:
                case IArgumentOperation { Parent: IInvocationOperation { TargetMethod: { Name: "ConfigureAwait", IsExtensionMethod: true } } }:
                case IInvocationOperation { TargetMethod: { Name: "ConfigureAwait", IsExtensionMethod: true } } when value is IArgumentOperation:
                case IInvocationOperation { TargetMethod.Name: "ConfigureAwait" or "AsTask" or "Preserve" or "GetAwaiter" or "GetResult" } call when call.Instance == value:
                case IPropertyReferenceOperation { Property.Name: "Result" } result when result.Instance == value:
                    continue;
                case ITupleOperation { Parent: IDeconstructionAssignmentOperation { Target: var target } whole } tuple when whole.Value == tuple:
                    return Part(target, tuple.Elements.IndexOf(value), whole);
                case ITupleOperation { Parent: IConversionOperation { Parent: IDeconstructionAssignmentOperation { Target: var target } whole } } tuple:
                    return Part(target, tuple.Elements.IndexOf(value), whole);
                case IExpressionStatementOperation:
                    return new(Fate.Discarded, value);
                case ISimpleAssignmentOperation { Target: IDiscardOperation } to when to.Value == value:
                    return new(Fate.Discarded, to);
                case ISimpleAssignmentOperation { Target: ILocalReferenceOperation local } to when to.Value == value:
                    return to.Parent is IUsingOperation around && around.Resources == to ? new(Fate.Using, around) : new(Fate.Kept, to, local.Local);
                case IVariableInitializerOperation { Parent: IVariableDeclaratorOperation declarator }:
                    return IsUsing(declarator) ? new(Fate.Using, declarator) : new(Fate.Kept, declarator, declarator.Symbol);
                case IUsingOperation use when use.Resources == value:
                    return new(Fate.Using, use);
                case IInvocationOperation call when call.Instance == value:
                    return call.TargetMethod.Name is "Dispose" or "DisposeAsync" or "Close" or "CloseAsync"
                        ? new(Fate.Disposed, call)
                        : new(Fate.Used, call, member: call.TargetMethod.Name);
                case IPropertyReferenceOperation { Property: { Name: "Lease", ContainingType.Name: "RentOutcome" } } lease when lease.Instance == value:
                    // Whether there is one was asked somewhere before: its ways are not followed.
                    return Of(lease) is { Fate: Fate.Used } used ? used : new(Fate.Escapes, lease);
                case IMemberReferenceOperation member when member.Instance == value:
                    return new(Fate.Used, member, member: member.Member.Name);
                case IArgumentOperation { Parent: IInvocationOperation { TargetMethod: { IsExtensionMethod: true } extension } call } when call.Arguments[0] == parent:
                    return new(Fate.Used, call, member: extension.Name);
                case IIsPatternOperation match when match.Value == value && Declared(match.Pattern) is ILocalSymbol local:
                    return new(Fate.Kept, match, local);
                case IBinaryOperation or IIsPatternOperation or IIsTypeOperation:
                    return new(Fate.Used, parent);
                default:
                    return new(Fate.Escapes, parent ?? value);
            }
        }
    }

    /// <summary>What a pattern calls the whole of what it matches.</summary>
    private static ISymbol? Declared(IPatternOperation pattern) => pattern switch
    {
        IDeclarationPatternOperation declaration => declaration.DeclaredSymbol,
        IRecursivePatternOperation recursive => recursive.DeclaredSymbol,
        INegatedPatternOperation negated => Declared(negated.Pattern),
        _ => null,
    };

    /// <summary>What becomes of one part of a tuple that is taken apart.</summary>
    private static Destination Part(IOperation target, int index, IOperation whole)
    {
        var parts = target is IDeclarationExpressionOperation declaration ? declaration.Expression : target;
        var part = (parts as ITupleOperation)?.Elements[index];
        return (part is IDeclarationExpressionOperation declared ? declared.Expression : part) switch
        {
            ILocalReferenceOperation local => new(Fate.Kept, whole, local.Local),
            IDiscardOperation => new(Fate.Discarded, whole),
            _ => new(Fate.Escapes, whole),
        };
    }

    private static bool IsUsing(IVariableDeclaratorOperation declarator)
        => declarator.Parent?.Parent is { } group && group.Parent is IUsingDeclarationOperation or IUsingOperation;
}
